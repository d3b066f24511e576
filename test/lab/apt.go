package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// apt runs Debian's apt for one architecture in a directory of its own: its
// package lists, its empty idea of what is installed, its downloads. The
// machine's own sources and keys are used, its state is neither read nor
// changed.
type apt struct {
	dir  string
	arch string
}

func (a apt) options() []string {
	return []string{
		"-o", "APT::Architecture=" + a.arch,
		"-o", "APT::Architectures=" + a.arch,
		"-o", "APT::Sandbox::User=", // the download user may not write here
		"-o", "Dir::State::Lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Acquire::Retries=3",
		"-qq",
	}
}

func (a apt) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append(a.options(), args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s %s for %s: %w: %s", program, strings.Join(args, " "), a.arch, err, tail(problems.String()))
	}
	return out.String(), nil
}

// tail shortens what a program said to its end, where the reason is.
func tail(s string) string {
	const most = 600
	s = strings.TrimSpace(s)
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// update fetches the package lists.
func (a apt) update(ctx context.Context) error {
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return fmt.Errorf("preparing apt's directories: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644); err != nil {
		return fmt.Errorf("preparing apt's directories: %w", err)
	}
	_, err := a.run(ctx, a.dir, "apt-get", "update")
	return err
}

// known tells which of the packages exist.
func (a apt) known(ctx context.Context, packages ...string) ([]string, error) {
	out, err := a.run(ctx, a.dir, "apt-cache", "pkgnames")
	if err != nil {
		return nil, err
	}
	all := strings.Fields(out)
	return slices.DeleteFunc(packages, func(p string) bool { return !slices.Contains(all, p) }), nil
}

// closure names the packages with all that they depend on.
func (a apt) closure(ctx context.Context, packages ...string) ([]string, error) {
	args := append([]string{"install", "--no-install-recommends", "--print-uris"}, packages...)
	out, err := a.run(ctx, a.dir, "apt-get", args...)
	if err != nil {
		return nil, err
	}
	return packageNames(out), nil
}

// packageNames reads apt-get's --print-uris: 'URI' NAME_VERSION_ARCH.deb SIZE [HASH].
func packageNames(uris string) []string {
	var names []string
	for line := range strings.Lines(uris) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(line, "'") {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// deb is a package file as it was fetched.
type deb struct {
	Package string
	File    string // the name in the directory
	SHA256  string
}

// download puts the packages' files into dir, which must be empty; apt checks
// their hashes against the signed lists.
func (a apt) download(ctx context.Context, dir string, packages []string) ([]deb, error) {
	if _, err := a.run(ctx, dir, "apt-get", append([]string{"download"}, packages...)...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	var all []deb
	for _, file := range files { // Glob sorts
		sum, err := sumFile(file)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(filepath.Base(file), "_")
		all = append(all, deb{Package: name, File: filepath.Base(file), SHA256: sum})
	}
	if len(all) != len(packages) {
		return nil, fmt.Errorf("downloading packages for %s: %d files came for %d names", a.arch, len(all), len(packages))
	}
	return all, nil
}

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// debs returns the directory of the package files that go by this name, and
// their list; choose picks them from what exists when they are not there yet.
func (l *Lab) debs(ctx context.Context, name, arch string, choose func(context.Context, apt) ([]string, error)) (dir string, list []deb, err error) {
	dir = filepath.Join(l.dir, name+"-"+arch)
	listFile := filepath.Join(dir, "packages.json")
	err = l.locked(ctx, name+"-"+arch, func(ctx context.Context) error {
		raw, err := os.ReadFile(listFile)
		if errors.Is(err, fs.ErrNotExist) {
			return l.fetchDebs(ctx, dir, listFile, arch, choose, &list)
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &list)
	})
	if err != nil {
		return "", nil, fmt.Errorf("fetching Debian packages for %s: %w", arch, err)
	}
	return dir, list, nil
}

func (l *Lab) fetchDebs(ctx context.Context, dir, listFile, arch string, choose func(context.Context, apt) ([]string, error), list *[]deb) error {
	a, err := l.apt(ctx, arch)
	if err != nil {
		return err
	}
	names, err := choose(ctx, a)
	if err != nil {
		return err
	}
	l.logf("fetching %d Debian packages for %s", len(names), arch)
	if err := os.RemoveAll(dir); err != nil { // what an interrupted fetch left
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	*list, err = a.download(ctx, dir, names)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(*list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(listFile, raw, 0o644)
}

// apt gives apt with package lists that are new enough for their packages to be
// still there.
func (l *Lab) apt(ctx context.Context, arch string) (apt, error) {
	a := apt{dir: filepath.Join(l.dir, "apt-"+arch), arch: arch}
	done := filepath.Join(a.dir, "updated")
	err := l.locked(ctx, "apt-"+arch, func(ctx context.Context) error {
		if info, err := os.Stat(done); err == nil && time.Since(info.ModTime()) < time.Hour {
			return nil
		}
		l.logf("fetching Debian's package lists for %s", arch)
		if err := a.update(ctx); err != nil {
			return err
		}
		return os.WriteFile(done, nil, 0o644)
	})
	return a, err
}
