package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"hookbuild/linuxkit/containers"
	"hookbuild/test/corpus"
)

// oldWay produces the same result with the tools that build.sh and
// pull-images.sh run, one after the other as those do. Where they start a
// container only to have the tools in it, the machine's tools are used, and
// what they install is already there: that saves the old way minutes.
type oldWay struct {
	*place
	dir             string
	builder, second *engine
	spent           cost // by the programs of the current step
}

// step is a part of the old way.
type step struct {
	name string
	// embed and all say which tasks the step belongs to; once, that a second
	// run of all finds it done.
	embed, all, once bool
	do               func(*oldWay, context.Context) error
}

// oldSteps lists the old way from registry to artifacts.
func oldSteps() []step {
	return []step{
		{"docker rmi, docker pull: the seven images", true, true, false, (*oldWay).pullImages},
		{"docker save", true, true, false, (*oldWay).saveImages},
		{"start a second dockerd, data root on tmpfs", true, true, false, (*oldWay).startSecond},
		{"docker load", true, true, false, (*oldWay).loadImages},
		{"docker tag", true, true, false, (*oldWay).tagImages},
		{"stop it, cp -a its data root", true, true, false, (*oldWay).copyStore},
		{"docker build: COPY the data root", true, true, false, (*oldWay).buildImage},
		{"find, cpio, zstd -9 of the data root", true, false, false, (*oldWay).packStore},
		{"docker pull: the containers of HookOS", false, true, true, (*oldWay).pullContainers},
		{"docker export, tar -x: into one root", false, true, false, (*oldWay).exportRoot},
		{"dpkg-deb, tar -x: the kernel", false, true, false, (*oldWay).unpackKernel},
		{"find, cpio, pigz", false, true, false, (*oldWay).firstInitramfs},
		{"pigz -d, cpio -i, rdfind", false, true, false, (*oldWay).linkDuplicates},
		{"find, cpio, zstd -9", false, true, false, (*oldWay).secondInitramfs},
		{"tar, pigz of the artifacts", false, true, false, (*oldWay).tarArtifacts},
	}
}

// measureOldWay runs all steps and returns what each cost, in order, and the
// sizes of the two results.
func measureOldWay(ctx context.Context, p *place) (costs []cost, sizes oldSizes, err error) {
	o, err := beginOldWay(ctx, p)
	if err != nil {
		return nil, sizes, err
	}
	for _, s := range oldSteps() {
		c, err := o.measure(ctx, s)
		if err != nil {
			return nil, sizes, fmt.Errorf("the old way: %s: %w", s.name, err)
		}
		p.say("  the old way, %s: %.2f s", s.name, c.wall.Seconds())
		costs = append(costs, c)
	}
	if sizes, err = o.sizes(); err != nil {
		return nil, sizes, err
	}
	return costs, sizes, o.end()
}

func beginOldWay(ctx context.Context, p *place) (_ *oldWay, err error) {
	o := &oldWay{place: p}
	if o.dir, err = p.sub("old"); err != nil {
		return nil, err
	}
	if o.builder, err = startEngine(ctx, o.path("builder"), o.path("builder-root")); err != nil {
		return nil, err
	}
	p.atEnd(o.builder.stop)
	return o, nil
}

func (o *oldWay) end() error {
	if err := o.builder.stop(); err != nil {
		return err
	}
	return o.discard(o.dir)
}

// oldSizes are the sizes in bytes of the old way's initramfs files.
type oldSizes struct{ embed, all int64 }

func (o *oldWay) sizes() (s oldSizes, err error) {
	if s.embed, err = sizeOf(o.path("store.zst")); err != nil {
		return s, err
	}
	s.all, err = sizeOf(o.path("out/initramfs"))
	return s, err
}

// path returns the path of a file of the old way.
func (o *oldWay) path(name string) string { return filepath.Join(o.dir, name) }

// pullImages does the same as pull-images.sh, which removes an image before
// pulling it, in case it is of another architecture: a second run pulls
// everything again.
func (o *oldWay) pullImages(ctx context.Context) error {
	const lines = `platform=$1; shift
		for image; do docker rmi "$image" 2>/dev/null || true; docker pull --quiet --platform "$platform" "$image"; done`
	return o.docker(ctx, o.builder, lines, append([]string{"linux/" + o.arch}, o.references()...)...)
}

// references returns the references of the seven images.
func (o *oldWay) references() []string {
	var all []string
	for _, name := range corpus.Names() {
		all = append(all, o.registry.Reference(name, corpus.Actions))
	}
	return all
}

func (o *oldWay) saveImages(ctx context.Context) error {
	const lines = `mkdir "$1"; cd "$1"; shift; for image; do docker save -o "${image//\//-}.tar" "$image"; done`
	return o.docker(ctx, o.builder, lines, append([]string{o.path("saved")}, o.references()...)...)
}

func (o *oldWay) startSecond(ctx context.Context) (err error) {
	root := o.path("second-root")
	if err := os.Mkdir(root, 0o710); err != nil {
		return err
	}
	if err := unix.Mount("hookbuild-bench", root, "tmpfs", 0, "size=90%"); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	if o.second, err = startEngine(ctx, o.path("second"), root, "--storage-driver=overlay2"); err != nil {
		return err
	}
	o.atEnd(o.second.stop)
	return nil
}

func (o *oldWay) loadImages(ctx context.Context) error {
	return o.docker(ctx, o.second, `for file in "$1"/*; do docker load -i "$file"; done; rm -r "$1"`, o.path("saved"))
}

func (o *oldWay) tagImages(ctx context.Context) error {
	var pairs []string
	for _, name := range corpus.Names() {
		pairs = append(pairs, o.registry.Reference(name, corpus.Actions), "127.0.0.1/embedded/"+name)
	}
	return o.docker(ctx, o.second, `while (($#)); do docker tag "$1" "$2"; shift 2; done`, pairs...)
}

func (o *oldWay) copyStore(ctx context.Context) error {
	if err := o.second.stop(); err != nil {
		return err
	}
	return o.shell(ctx, `mkdir -p "$2"; cp -a "$1"/* "$2"`, o.path("second-root"), o.path("context/images"))
}

func (o *oldWay) buildImage(ctx context.Context) error {
	const dockerfile = "FROM scratch\nCOPY images/ /etc/embedded-images/\n"
	if err := os.WriteFile(o.path("context/Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	return o.docker(ctx, o.builder, `docker build -t "$1" "$2"`, o.embedded().Reference, o.path("context"))
}

// packStore makes the segment that hookbuild embed adds. Names may contain any
// byte, therefore -print0.
func (o *oldWay) packStore(ctx context.Context) error {
	return o.shell(ctx, `cd "$1"; find . -print0 | cpio --quiet -0 -o -H newc | zstd -q -9 -T0 -o "$2"`, o.path("context/images"), o.path("store.zst"))
}

// packBootable makes the archive of the container hook-embedded, which turns a
// HookOS without images into one with them.
func (o *oldWay) packBootable(ctx context.Context) error {
	const lines = `mkdir -p "$1/etc/init.d"; mv "$2" "$1/etc/embedded-images"; install -m 755 "$3" "$1/etc/init.d/001-images-mount.sh"
		cd "$1"; find . -print0 | cpio --quiet -0 -o -H newc | zstd -q -9 -T0 -o "$4"`
	script := filepath.Join(o.checkout, "images/hook-embedded/images-mount.sh")
	return o.shell(ctx, lines, o.path("bootable"), o.path("context/images"), script, o.path("bootable.zst"))
}

// embedded returns the container of the checkout that holds the store.
func (o *oldWay) embedded() containers.Container {
	return o.containers[slices.IndexFunc(o.containers, isEmbedded)]
}

func isEmbedded(c containers.Container) bool { return c.Name == "hook-embedded" }

func (o *oldWay) pullContainers(ctx context.Context) error {
	var references []string
	for _, c := range o.containers {
		if !isEmbedded(c) {
			references = append(references, c.Reference)
		}
	}
	const lines = `platform=$1; shift; for image; do docker pull --quiet --platform "$platform" "$image"; done`
	return o.docker(ctx, o.builder, lines, append([]string{"linux/" + o.arch}, references...)...)
}

// exportRoot does the same as linuxkit build --docker: each image's files are
// exported from a container that is never started.
func (o *oldWay) exportRoot(ctx context.Context) error {
	const lines = `while (($#)); do
		mkdir -p "$2"; id=$(docker create "$1" /none); docker export "$id" | tar -x -C "$2"; docker rm "$id" >/dev/null; shift 2; done`
	var pairs []string
	for _, c := range o.containers {
		at := o.path("root")
		if !isEmbedded(c) {
			at = filepath.Join(at, "containers", c.Name)
		}
		pairs = append(pairs, c.Reference, at)
	}
	return o.docker(ctx, o.builder, lines, pairs...)
}

func (o *oldWay) unpackKernel(ctx context.Context) error {
	const lines = `mkdir "$3"; dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --exclude='./boot/*'
		dpkg-deb --fsys-tarfile "$1" | tar -x -O --wildcards './boot/vmlinuz*' >"$3/vmlinuz"`
	return o.shell(ctx, lines, o.deb, o.path("root"), o.path("out"))
}

// firstInitramfs writes what the linuxkit tool writes; it compresses as pigz
// does.
func (o *oldWay) firstInitramfs(ctx context.Context) error {
	return o.shell(ctx, `cd "$1"; find . -print0 | cpio --quiet -0 -o -H newc | pigz >"$2"`, o.path("root"), o.path("initrd.img"))
}

func (o *oldWay) linkDuplicates(ctx context.Context) error {
	const lines = `mkdir "$2"; cd "$2"; pigz -dc "$1" >"$2.cpio"; cpio --quiet -idmu --no-absolute-filenames <"$2.cpio"
		rdfind -makehardlinks true -deleteduplicates true -makeresultsfile false . >/dev/null`
	return o.shell(ctx, lines, o.path("initrd.img"), o.path("again"))
}

func (o *oldWay) secondInitramfs(ctx context.Context) error {
	const lines = `cd "$1"; find . -print0 | cpio --quiet -0 -o -H newc >"$1.packed"; zstd -q -9 -T0 -o "$2" "$1.packed"`
	return o.shell(ctx, lines, o.path("again"), o.path("out/initramfs"))
}

func (o *oldWay) tarArtifacts(ctx context.Context) error {
	return o.shell(ctx, `tar -c -C "$1" vmlinuz initramfs | pigz >"$1/hook.tar.gz"`, o.path("out"))
}
