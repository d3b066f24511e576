package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// program is a hookbuild that was built for one platform.
type program struct {
	path       string
	goos, arch string
	info       *debug.BuildInfo
}

// buildProgram builds hookbuild for a platform, static and stripped, with the
// commit recorded where there is one, whatever GOFLAGS says.
func buildProgram(ctx context.Context, work, platform string) (*program, error) {
	goos, arch, ok := strings.Cut(platform, "/")
	if !ok || goos == "" || arch == "" {
		return nil, fmt.Errorf("the platform %q is not of the form GOOS/GOARCH", platform)
	}
	path := filepath.Join(work, goos+"-"+arch)
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/hookbuild")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building hookbuild for %s: %w\n%s", platform, err, said)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading what hookbuild for %s was built from: %w", platform, err)
	}
	return &program{path: path, goos: goos, arch: arch, info: info}, nil
}

// version returns the module version as Go recorded it, "devel" in a build
// without git.
func (p *program) version() string {
	v := strings.Trim(p.info.Main.Version, "()")
	if v == "" {
		return "devel"
	}
	return v
}

func (p *program) setting(key string) string {
	for _, s := range p.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// stamp returns the time that the release's files carry: epoch, in seconds,
// where it is set, else the commit's, else 1970.
func (p *program) stamp(epoch string) (time.Time, error) {
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return time.Time{}, fmt.Errorf("reading SOURCE_DATE_EPOCH: %w; set it to seconds since 1970", err)
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if at := p.setting("vcs.time"); at != "" {
		return time.Parse(time.RFC3339, at)
	}
	return time.Unix(0, 0).UTC(), nil
}

// write packs the program with its documents and licences into an archive in
// dir, writes the bill of materials beside it, and returns both names.
func (p *program) write(ctx context.Context, dir string, pages []entry, epoch string) ([]string, error) {
	stamp, err := p.stamp(epoch)
	if err != nil {
		return nil, err
	}
	modules, err := modulesOf(ctx, p.info)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("reading the program: %w", err)
	}
	name := fmt.Sprintf("hookbuild_%s_%s_%s", strings.TrimPrefix(p.version(), "v"), p.goos, p.arch)
	entries := []entry{{name: "hookbuild", mode: 0o755, content: binary}}
	entries = append(entries, pages...)
	entries = append(entries, licences(modules)...)
	archive := name + ".tar.gz"
	if err := writeArchive(filepath.Join(dir, archive), name, entries, stamp); err != nil {
		return nil, err
	}
	bill := name + ".spdx.json"
	return []string{archive, bill}, writeBill(filepath.Join(dir, bill), p, modules, binary, stamp)
}
