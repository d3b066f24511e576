// Command dist makes the files of a release: for each platform an archive with
// the program, its manual page, completion scripts and the licences of
// everything linked into it, an SPDX bill of materials beside it, and the
// checksums of all of them.
//
//	go run ./tools/dist -out dist
//	go run ./tools/dist -image ghcr.io/OWNER/hookbuild:v1.2.3
//
// Equal sources give equal bytes: programs are built with -trimpath, and every
// time stamp is SOURCE_DATE_EPOCH, else the commit's. Licences come from the
// module cache, for exactly the modules that Go's linker recorded in the
// program; a module without a licence file is an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// platforms are those that a release is made for.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

func main() {
	out := flag.String("out", "dist", "directory to write the release to")
	wanted := flag.String("platforms", platforms, "platforms to build for, as GOOS/GOARCH, separated by commas")
	image := flag.String("image", "", "push a container image with the Linux programs to this reference, print it with its digest, and make no archives")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dist: unknown argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	lines, err := run(ctx, *out, *image, strings.Split(*wanted, ","), os.Getenv("SOURCE_DATE_EPOCH"))
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "dist: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(lines, "\n"))
}

// run makes the archives, or the image where one is wanted, and returns what to
// print.
func run(ctx context.Context, out, image string, platforms []string, epoch string) ([]string, error) {
	if image != "" {
		linux := slices.DeleteFunc(platforms, func(p string) bool { return !strings.HasPrefix(p, "linux/") })
		pushed, err := pushImage(ctx, image, linux, epoch)
		return []string{pushed}, err
	}
	files, err := release(ctx, out, platforms, epoch)
	for i, f := range files {
		files[i] = filepath.Join(out, f)
	}
	return files, err
}

// release writes the files of a release to out and returns their names, the
// checksums' last. It runs in the module's root directory.
func release(ctx context.Context, out string, platforms []string, epoch string) ([]string, error) {
	work, err := os.MkdirTemp("", "hookbuild-dist-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the programs: %w", err)
	}
	defer os.RemoveAll(work)
	pages, err := documents(ctx, work)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("making the release's directory: %w", err)
	}
	var files []string
	for _, platform := range platforms {
		p, err := buildProgram(ctx, work, platform)
		if err != nil {
			return nil, err
		}
		made, err := p.write(ctx, out, pages, epoch)
		if err != nil {
			return nil, fmt.Errorf("packing hookbuild for %s: %w", platform, err)
		}
		files = append(files, made...)
	}
	slices.Sort(files)
	const sums = "checksums.txt"
	if err := writeSums(out, sums, files); err != nil {
		return nil, err
	}
	return append(files, sums), nil
}

// documents returns what every archive holds beside the program: completion
// scripts and the manual page, written by a hookbuild for this machine, and
// the repository's own texts.
func documents(ctx context.Context, work string) ([]entry, error) {
	host, err := buildProgram(ctx, work, runtime.GOOS+"/"+runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var pages []entry
	for _, g := range []struct {
		name string
		args []string
	}{
		{"completions/hookbuild.bash", []string{"completion", "bash"}},
		{"completions/_hookbuild", []string{"completion", "zsh"}},
		{"completions/hookbuild.fish", []string{"completion", "fish"}},
		{"man/hookbuild.1", []string{"man"}},
	} {
		cmd := exec.CommandContext(ctx, host.path, g.args...)
		// The page shows defaults, which must not depend on this machine.
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("running hookbuild %s: %w%s", strings.Join(g.args, " "), err, stderrOf(err))
		}
		pages = append(pages, entry{name: g.name, mode: 0o644, content: text})
	}
	texts, err := ownTexts()
	return append(pages, texts...), err
}

// ownTexts returns the repository's texts for users, and those that they link to.
func ownTexts() ([]entry, error) {
	names := []string{"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"}
	err := filepath.WalkDir("docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the repository's documentation: %w", err)
	}
	var texts []entry
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading a file of the repository: %w", err)
		}
		texts = append(texts, entry{name: name, mode: 0o644, content: text})
	}
	return texts, nil
}

// stderrOf returns what a failed program printed, to follow its error.
func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return ": " + strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}
