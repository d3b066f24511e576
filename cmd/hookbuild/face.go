package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"hookbuild/internal/progress"
)

// face shows a user what the rooms report. Close ends it; nothing is shown
// afterwards.
type face interface {
	progress.Sink
	Close() error
}

// newFace makes the face that kind names; "auto" looks at where it is shown.
func newFace(kind string, debug bool, w io.Writer, getenv func(string) string) (face, error) {
	switch kind {
	case "auto":
		return newFace(autoFace(w, getenv), debug, w, getenv)
	case "tty":
		return newTerminalFace(w), nil
	case "plain":
		return &plainFace{w: w, debug: debug}, nil
	case "github":
		return &githubFace{plain: plainFace{w: w, debug: debug}}, nil
	case "json":
		return newJSONFace(w), nil
	}
	return nil, usagef("--progress %q is not one of auto, tty, plain, github, json", kind)
}

func autoFace(w io.Writer, getenv func(string) string) string {
	if getenv("GITHUB_ACTIONS") == "true" {
		return "github"
	}
	f, ok := w.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && getenv("TERM") != "dumb" {
		return "tty"
	}
	return "plain"
}

// bytesText writes a number of bytes as a person reads it: "12.3 MB".
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}
