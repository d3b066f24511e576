package corpus

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/test/corpus/expect"
)

// Names lists the images of the corpus: EKS Anywhere's actions and, last, the
// worker.
func Names() []string {
	return []string{"cexec", "image2disk", "kexec", "oci2disk", "reboot", "writefile", Worker}
}

// Worker is the image that HookOS starts.
const Worker = "tink-worker"

// imageRecipe makes one image for one architecture.
type imageRecipe struct {
	layers []recipe
	config v1.Config
	runs   []expect.Run
	// docker asks for Docker's media types in place of OCI's.
	docker bool
}

// checkProgram is where an image keeps the program that checks it.
const checkProgram = "/corpus/check"

// ingredients are the layers that images share.
type ingredients struct {
	base []recipe // skeleton, checking program, shell
	// debian are Debian's bash and coreutils with their libraries.
	debian recipe
	// large are the programs that make an image large.
	disk, oci, kexec, worker recipe
	// real tells programs for arch from noise.
	real bool
	arch string
}

// images are the seven. Each has something that the others have not.
func (in ingredients) images() map[string]imageRecipe {
	check := v1.Config{Entrypoint: []string{checkProgram}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, WorkingDir: "/"}
	return map[string]imageRecipe{
		"cexec":      {layers: in.on(before(), hide("cexec", []string{"corpus/change/opaque"}, []string{"corpus/change/dir-to-file"})), config: check},
		"image2disk": {layers: in.on(in.debian, in.disk, nothing()), config: check, runs: in.runs("zstd", "gzip")},
		"kexec":      {layers: in.on(in.debian, in.kexec), config: check, runs: in.runs("kexec"), docker: true},
		"oci2disk":   {layers: in.on(in.debian, in.oci, hide("oci2disk", in.deletable(), nil), uncompressed()), config: check, runs: in.runs("rclone")},
		"reboot":     {layers: in.on(nothing()), config: rebooting(), docker: true},
		"writefile":  {layers: in.on(names(), rawNames()), config: check},
		Worker: {layers: in.on(in.debian, in.worker, before(), attributes(), nothing(), after(), again(), names(), nothing(), uncompressed()),
			config: check, runs: in.runs("bash", "runc")},
	}
}

// on puts layers upon the base.
func (in ingredients) on(layers ...recipe) []recipe { return slices.Concat(in.base, layers) }

// rebooting is the config of an image that does what EKS Anywhere's reboot
// does.
func rebooting() v1.Config {
	return v1.Config{Entrypoint: []string{"/usr/bin/busybox", "touch"}, Cmd: []string{"/worker/reboot"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Labels: map[string]string{"org.opencontainers.image.title": "reboot"}}
}

// deletable are directories of the Debian layer, and one that is in none: a
// mark for what is not there is valid.
func (in ingredients) deletable() []string {
	if !in.real {
		return []string{"usr/lib/debian", "usr/lib/nowhere"}
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[in.arch]
	return []string{"usr/lib/" + triplet + "/gconv", "usr/lib/nowhere"}
}

// runs are the commands that must work in an image of real programs.
func (in ingredients) runs(programs ...string) []expect.Run {
	known := map[string]expect.Run{
		"bash":   {Args: []string{"/usr/bin/bash", "-c", "echo $((6 * 7)) $(cat /etc/passwd | wc -l)"}, Contains: "42 1"},
		"gzip":   {Args: []string{"/usr/bin/bash", "-c", "echo there and back | gzip | gzip -d"}, Contains: "there and back"},
		"zstd":   {Args: []string{"/usr/bin/bash", "-c", "echo there and back | zstd | zstd -d"}, Contains: "there and back"},
		"kexec":  {Args: []string{"/sbin/kexec", "--version"}, Contains: "kexec-tools"},
		"rclone": {Args: []string{"/usr/bin/rclone", "version"}, Contains: "rclone v"},
		"runc":   {Args: []string{"/usr/sbin/runc", "--version"}, Contains: "runc version"},
	}
	if !in.real {
		return nil
	}
	all := []expect.Run{{Args: []string{"/usr/bin/busybox", "echo", "static"}, Contains: "static"}}
	for _, p := range programs {
		all = append(all, known[p])
	}
	return all
}

// small are ingredients that need nothing: noise in the place of programs.
func small(program string) (ingredients, error) {
	checking, err := checkingLayer(program)
	return ingredients{
		base:   []recipe{skeleton(), checking, noise("busybox", gzipped, 32<<10)},
		debian: noise("debian", gzipped, 256<<10),
		disk:   noise("disk", zstded, 128<<10), oci: noise("oci", gzipped, 128<<10), kexec: noise("kexec", gzipped, 16<<10), worker: noise("worker", zstded, 64<<10),
	}, err
}

// debianIngredients are made of Debian's packages.
func debianIngredients(ctx context.Context, source PackageSource, arch, program string) (ingredients, error) {
	shell, base := []string{"busybox-static"}, []string{"bash", "coreutils"}
	disk, oci, kexec, worker := []string{"zstd", "gzip", "xz-utils", "restic"}, []string{"rclone"}, []string{"kexec-tools"}, []string{"runc", "iputils-ping"}
	files, err := source(ctx, arch, slices.Concat(shell, base, disk, oci, kexec, worker)...)
	if err != nil {
		return ingredients{}, err
	}
	s, err := openShelf(files)
	if err != nil {
		return ingredients{}, err
	}
	checking, err := checkingLayer(program)
	if err != nil {
		return ingredients{}, err
	}
	has := s.need(nil, base...)
	return ingredients{
		real: true, arch: arch,
		base:   []recipe{skeleton(), checking, s.unpacked("busybox", gzipped, shell)},
		debian: s.unpacked("debian", gzipped, has),
		disk:   s.unpacked("disk", zstded, s.need(has, disk...)),
		oci:    s.unpacked("oci", gzipped, s.need(has, oci...)),
		kexec:  s.unpacked("kexec", gzipped, s.need(has, kexec...)),
		worker: s.unpacked("worker", zstded, s.need(has, worker...)),
	}, nil
}

// checkingLayer holds the program that checks an image; none when program is
// "".
func checkingLayer(program string) (recipe, error) {
	r := recipe{name: "checking program", compression: gzipped, files: []file{dir("corpus", 0o755)}}
	if program == "" {
		return r, nil
	}
	info, err := os.Stat(program)
	if err != nil {
		return r, fmt.Errorf("reading the program that checks images: %w", err)
	}
	check := text(checkProgram[1:], "", 0o755)
	check.header.Size = info.Size()
	check.open = func() (io.ReadCloser, error) { return os.Open(program) }
	r.files = append(r.files, check)
	return r, nil
}
