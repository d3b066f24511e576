package main

import (
	"fmt"
	"strings"

	"hookbuild/internal/progress"
)

// githubFace is the plain face with warnings and failures as annotations of
// GitHub Actions (docs.github.com, "Workflow commands").
type githubFace struct {
	plain plainFace
}

// Report implements [progress.Sink].
func (g *githubFace) Report(e progress.Event) {
	switch e.Kind {
	case progress.Warning:
		g.annotate("warning", e.Text)
	case progress.Failed:
		g.annotate("error", e.Task+": "+e.Err.Error())
	default:
		g.plain.Report(e)
	}
}

// Close implements face.
func (g *githubFace) Close() error { return nil }

func (g *githubFace) annotate(command, text string) {
	escaped := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
	g.plain.mu.Lock()
	defer g.plain.mu.Unlock()
	fmt.Fprintf(g.plain.w, "::%s title=hookbuild::%s\n", command, escaped)
}
