package face

import (
	"strings"

	"hookbuild/internal/progress"
)

// github is the plain face for a log of GitHub Actions: warnings and the final
// error are annotations, and the parts of a stage are folded into a group
// (docs.github.com, "Workflow commands for GitHub Actions").
type github struct {
	*plain
	// stages has the lines of each stage's parts until all of them have ended.
	stages map[string]*group
}

type group struct {
	running int
	lines   []string
}

func newGitHub(o Options) *github { return &github{plain: newPlain(o), stages: map[string]*group{}} }

// Report implements [progress.Sink].
func (g *github) Report(e progress.Event) {
	if e.Kind == progress.Warning {
		g.print(annotation("warning", e.Text))
		return
	}
	text := g.line(e)
	if e.Stage != "" {
		text = g.gather(e, text)
	}
	g.print(text)
}

// Fail implements [Face].
func (g *github) Fail(text string, _ int) { g.print(annotation("error", text)) }

// gather keeps the line of a part. It returns the group when the last part has ended.
func (g *github) gather(e progress.Event, text string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.stages[e.Stage]
	if !ok {
		s = &group{}
		g.stages[e.Stage] = s
	}
	if text != "" {
		s.lines = append(s.lines, text)
	}
	switch e.Kind {
	case progress.Started:
		s.running++
	case progress.Finished, progress.Failed, progress.Cancelled:
		s.running--
	}
	if s.running > 0 || len(s.lines) == 0 {
		return ""
	}
	lines := s.lines
	s.lines = nil
	return "::group::" + e.Stage + "\n" + strings.Join(lines, "\n") + "\n::endgroup::"
}

// annotation returns a workflow command with its text escaped as the runner
// expects.
func annotation(command, text string) string {
	escaped := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
	return "::" + command + " title=hookbuild::" + escaped
}
