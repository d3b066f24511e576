package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
)

// warnings are the texts of warnings, each once.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// add keeps a warning, and reports whether it is a new one.
func (w *warnings) add(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.texts, text) {
		return false
	}
	w.texts = append(w.texts, text)
	return true
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}

// rememberer passes reports on, each warning once, and keeps the warnings. The summary
// at the end repeats them, because the first may have scrolled away.
type rememberer struct {
	shown progress.Sink
	kept  *warnings
}

// Report implements [progress.Sink].
func (r *rememberer) Report(e progress.Event) {
	if e.Kind == progress.Warning && !r.kept.add(e.Text) {
		return
	}
	r.shown.Report(e)
}

// printResult shows what was published and what to do next, and prints the
// artifacts' paths.
func (a *app) printResult(result artifact.Published, took time.Duration) error {
	a.wrote = true
	for _, f := range result.Artifacts {
		if f.Link == "" {
			a.note("%s: %s", f.Name, words.Bytes(f.Size))
		} else {
			a.note("%s: same file as %s", f.Name, f.Link)
		}
	}
	for _, path := range result.Beside {
		a.note("%s: same file as %s", path, filepath.Join(result.Dir, filepath.Base(path)))
	}
	if images := namesOnBoard(result.Embedded); len(images) > 0 {
		a.note("%s on board: %s", words.Count(len(images), "image"), strings.Join(images, ", "))
	}
	if w := result.Worker; w != nil {
		a.note("worker: %s, from %s", w.Program, w.From)
	}
	if a.store != nil {
		reused, added := a.store.Uses()
		a.note("from the cache: %s in %s; fetched or made: %s in %s",
			words.Bytes(reused.Bytes), words.Count(reused.Files, "file"), words.Bytes(added.Bytes), words.Count(added.Files, "file"))
	}
	given := a.warnings.all()
	for i, text := range given {
		if len(given) == 1 {
			a.note("1 warning: %s", text)
		} else {
			a.note("warning %d of %d: %s", i+1, len(given), text)
		}
	}
	a.note("done in %s", took.Round(time.Millisecond))
	a.note("%s", a.nextSteps(result))
	if err := a.appendSummary(result, took); err != nil {
		return err
	}
	out := a.results()
	for _, f := range result.Artifacts {
		if _, err := fmt.Fprintln(out, filepath.Join(result.Dir, f.Name)); err != nil {
			return err
		}
	}
	for _, path := range append(result.Beside, result.Tarball) {
		if _, err := fmt.Fprintln(out, path); err != nil {
			return err
		}
	}
	return nil
}

// nextSteps returns the commands that check, boot and serve what was published.
func (a *app) nextSteps(result artifact.Published) string {
	serve := fmt.Sprintf("`hookbuild serve %s` serves it", result.Dir)
	if filepath.Base(result.Dir) == artifact.DefaultName { // a HookOS
		serve += "; the cluster specification then has hookImagesURLPath: http://SERVER:8080"
	}
	return fmt.Sprintf("next: `hookbuild verify %s` checks the result, `%s` boots it, %s", result.Dir, a.runCommand(result), serve)
}

// runCommand returns the command line of run for what was published, without the
// options whose defaults choose it.
func (a *app) runCommand(result artifact.Published) string {
	command := "hookbuild run"
	out, name := filepath.Split(result.Dir)
	out = filepath.Clean(out)
	chosen := slices.Contains(a.options, "out") || slices.Contains(a.options, "config")
	if chosen && (out != "out" || a.site != nil) {
		command += " --out " + out
	}
	if name != artifact.DefaultName {
		command += " --name " + name
	}
	if slices.ContainsFunc(result.Artifacts, func(f artifact.File) bool { return f.Name == "vmlinuz-"+flavor.AArch64 }) {
		command += " --arch arm64"
	}
	return command
}

// namesOnBoard returns the most important name of each embedded image.
func namesOnBoard(images []artifact.OnBoard) []string {
	var names []string
	for _, image := range images {
		names = append(names, append(slices.Clone(image.Names), image.ID)[0]) // a base may have images without a name
	}
	return names
}

// appendSummary adds a table of the artifacts to the job summary of GitHub
// Actions, if there is one.
func (a *app) appendSummary(result artifact.Published, took time.Duration) error {
	path := a.getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "### hookbuild: %s\n\n| artifact | size |\n|---|--:|\n", result.Dir)
	for _, f := range result.Artifacts {
		if f.Link == "" {
			fmt.Fprintf(&text, "| %s | %s |\n", f.Name, words.Bytes(f.Size))
		}
	}
	if images := namesOnBoard(result.Embedded); len(images) > 0 {
		fmt.Fprintf(&text, "\nOn board: %s.\n", strings.Join(images, ", "))
	}
	if w := result.Worker; w != nil {
		fmt.Fprintf(&text, "\nWorker: %s, from %s.\n", w.Program, w.From)
	}
	if shared := a.sharedSummary(); shared != "" {
		fmt.Fprintf(&text, "\nShared cache: %s.\n", shared)
	}
	fmt.Fprintf(&text, "\nMade in %s.\n", took.Round(time.Second))
	for _, w := range a.warnings.all() {
		fmt.Fprintf(&text, "\n> warning: %s\n", strings.ReplaceAll(w, "\n", " "))
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing the job's summary (GITHUB_STEP_SUMMARY): %w", err)
	}
	_, err = f.WriteString(text.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the job's summary to %q: %w", path, err)
	}
	return nil
}
