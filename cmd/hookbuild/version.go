package main

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// identity describes how this hookbuild was built.
type identity struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`   // "" in a build without git
	Time     string `json:"time,omitempty"`     // the commit's, RFC 3339
	Modified bool   `json:"modified,omitempty"` // built from files that differ from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// development is the version that Go records in a program whose sources are
// not in a git repository.
const development = "(devel)"

func newVersionCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print hookbuild's version, commit, Go release and platform",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: %s takes no arguments", c.Args().First(), a.command())
			}
			id := identityOf(debug.ReadBuildInfo())
			if c.Bool("json") {
				enc := json.NewEncoder(a.results())
				enc.SetIndent("", "  ")
				return enc.Encode(id)
			}
			_, err := io.WriteString(a.results(), id.String())
			return err
		},
	}
}

// identityOf returns the identity that Go's linker recorded.
func identityOf(info *debug.BuildInfo, ok bool) identity {
	id := identity{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if !ok {
		return id
	}
	if info.Main.Version != "" {
		id.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			id.Commit = s.Value
		case "vcs.time":
			id.Time = s.Value
		case "vcs.modified":
			id.Modified = s.Value == "true"
		}
	}
	return id
}

// String returns the lines that `hookbuild version` prints.
func (id identity) String() string {
	commit := "not known (built without git)"
	if id.Commit != "" {
		commit = id.Commit
		if id.Time != "" {
			commit += " of " + id.Time
		}
		if id.Modified {
			commit += ", with uncommitted changes"
		}
	}
	return fmt.Sprintf("hookbuild %s\ncommit:   %s\ngo:       %s\nplatform: %s\n", id.Version, commit, id.Go, id.Platform)
}

// version returns the module version that this program was built from, with
// the commit where Go recorded one.
func version() string {
	id := identityOf(debug.ReadBuildInfo())
	if id.Version == development && id.Commit != "" {
		return id.Version + " " + id.Commit
	}
	return id.Version
}

// salt distinguishes this hookbuild from others that share a cache. Builds
// outside a release can differ without a different version, so theirs is the
// build ID, or a hash of the program where it has none.
func salt() (string, error) {
	id := identityOf(debug.ReadBuildInfo())
	if id.Version != "unknown" && id.Version != development && !id.Modified {
		return id.Version, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	defer f.Close()
	if id := buildID(f); id != "" {
		return id, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// buildID returns the build ID of an ELF program: hashes of everything that it
// was built from and of the result. The ID is the content of a note, after a
// header and the owner's name, "Go". buildID returns "" for other programs and
// for those linked without an ID.
func buildID(program io.ReaderAt) string {
	const header = 3*4 + len("Go\x00\x00")
	file, err := elf.NewFile(program)
	if err != nil {
		return ""
	}
	section := file.Section(".note.go.buildid")
	if section == nil {
		return ""
	}
	note, err := section.Data()
	if err != nil || len(note) < header {
		return ""
	}
	return strings.TrimRight(string(note[header:]), "\x00")
}
