// Package containers finds and builds the images in a Hook checkout's template:
// the directories images/hook-* and the linuxkit/* images that the checkout
// wraps in its own registry. It names each by the hash of its content, as
// build.sh does, so that published ones are found.
package containers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
)

// Container is one image of the checkout.
type Container struct {
	// Name is the name of the directory: "hook-docker", "hook-linuxkit-init".
	Name string
	// Variable is the template's name for it: "HOOK_CONTAINER_DOCKER_IMAGE".
	Variable string
	// Wraps is the wrapped image ("linuxkit/init:abc"); empty for a directory
	// of the checkout.
	Wraps string
	// Reference is the name under which the image is published for one
	// architecture.
	Reference string
}

// proxyList is the checkout's file that lists the wrapped images.
const proxyList = "bash/hook-lk-containers.sh"

const proxyPrefix = "hook-linuxkit-"

// List returns the checkout's containers, sorted by name. Base is the prefix of
// their references, like HOOK_LK_CONTAINERS_OCI_BASE; dockerArch is amd64 or
// arm64.
func List(ctx context.Context, checkout fs.FS, base, dockerArch string) ([]Container, error) {
	dirs, err := fs.Glob(checkout, "images/hook-*/Dockerfile")
	if err != nil {
		return nil, fmt.Errorf("listing the containers of the checkout: %w", err)
	}
	var all []Container
	for _, dockerfile := range dirs {
		name := path.Base(path.Dir(dockerfile))
		if strings.HasPrefix(name, proxyPrefix) {
			continue // build.sh rewrites these from the list below
		}
		hash, err := hashDirectory(ctx, checkout, "images/"+name)
		if err != nil {
			return nil, err
		}
		all = append(all, newContainer(base, name, "", hash, dockerArch))
	}
	proxies, err := listProxies(checkout, base, dockerArch)
	if err != nil {
		return nil, err
	}
	all = append(all, proxies...)
	slices.SortFunc(all, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func newContainer(base, name, wraps, hash, dockerArch string) Container {
	short := strings.TrimPrefix(name, "hook-")
	return Container{
		Name:      name,
		Variable:  "HOOK_CONTAINER_" + strings.ToUpper(strings.ReplaceAll(short, "-", "_")) + "_IMAGE",
		Wraps:     wraps,
		Reference: fmt.Sprintf("%s%s:%s-%s", base, name, hash[:8], dockerArch),
	}
}

var proxyLine = regexp.MustCompile(`(?m)^[^#\n]*\+=\(\["([a-z0-9_]+)"\]="([^"\s]+)"\)`)

func listProxies(checkout fs.FS, base, dockerArch string) ([]Container, error) {
	script, err := fs.ReadFile(checkout, proxyList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of wrapped images: %w", err)
	}
	found := proxyLine.FindAllSubmatch(script, -1)
	if len(found) == 0 {
		return nil, fault.Invalidf("reading %q: it names no wrapped image, but a Hook checkout lists its linuxkit images in this file; compare it with upstream's", proxyList)
	}
	var all []Container
	for _, m := range found {
		key, wraps := string(m[1]), string(m[2])
		name := proxyPrefix + key
		hash := hashFiles(hashedFile{"images/" + name + "/Dockerfile", digest.OfBytes([]byte(proxyDockerfile(wraps)))})
		all = append(all, newContainer(base, name, wraps, hash, dockerArch))
	}
	return all, nil
}

// proxyDockerfile is the whole content of a wrapped image's directory.
func proxyDockerfile(wraps string) string { return "FROM --platform=${TARGETARCH} " + wraps + "\n" }

type hashedFile struct{ path, digest string }

// hashDirectory returns the hash of a directory's regular files, as printed by
// `find DIR -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
func hashDirectory(ctx context.Context, checkout fs.FS, dir string) (string, error) {
	var files []hashedFile
	err := fs.WalkDir(checkout, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := digestOf(ctx, checkout, name)
		files = append(files, hashedFile{name, sum})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hashing the container %q: %w", dir, err)
	}
	return hashFiles(files...), nil
}

func digestOf(ctx context.Context, checkout fs.FS, name string) (_ string, err error) {
	f, err := checkout.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return digest.OfReader(ctx, f)
}

func hashFiles(files ...hashedFile) string {
	slices.SortFunc(files, func(a, b hashedFile) int { return strings.Compare(a.path, b.path) })
	h := sha256.New()
	for _, f := range files {
		_, _ = io.WriteString(h, sumLine(f)) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sumLine returns a line of sha256sum's output. Special names are escaped,
// which a leading backslash indicates.
func sumLine(f hashedFile) string {
	line := digest.Hex(f.digest) + "  " + f.path
	if strings.ContainsAny(f.path, "\\\n\r") {
		escape := strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`)
		line = `\` + digest.Hex(f.digest) + "  " + escape.Replace(f.path)
	}
	return line + "\n"
}
