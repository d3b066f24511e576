// Command check is the program inside the corpus's images: it compares the
// image's file system with /corpus/expect.json and prints one line that begins
// as [expect.Well] says, or the differences. It exits with 0 only in the former
// case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/test/corpus/expect"
)

// mostProblems bounds what is printed.
const mostProblems = 40

func main() {
	ok, err := run(os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus bad:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(out io.Writer, args []string) (bool, error) {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	root := flags.String("root", "/", "compare the file system below `DIR`")
	times := flags.String("times", "no", "compare times of last change: no, seconds or nanoseconds")
	noXattrs := flags.Bool("no-xattrs", false, "leave capabilities out")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	d, err := read(filepath.Join(*root, expect.DocumentPath))
	if err != nil {
		return false, err
	}
	options := expect.Options{NoXattrs: *noXattrs, Skip: expect.Container()}
	if options.Times, err = parseTimes(*times); err != nil {
		return false, err
	}
	problems, err := expect.Check(filepath.Clean(*root), d, options)
	if err != nil {
		return false, err
	}
	if filepath.Clean(*root) == "/" {
		problems = append(problems, runAll(d.Runs)...)
	}
	return report(out, d, problems), nil
}

func read(name string) (_ *expect.Document, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading what the image says of itself: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return expect.Read(f)
}

func parseTimes(word string) (expect.Times, error) {
	switch word {
	case "no":
		return expect.NoTimes, nil
	case "seconds":
		return expect.Seconds, nil
	case "nanoseconds":
		return expect.Nanoseconds, nil
	}
	return 0, fmt.Errorf("-times %q is neither no, seconds nor nanoseconds", word)
}

func report(out io.Writer, d *expect.Document, problems []string) bool {
	if len(problems) == 0 {
		fmt.Fprintf(out, "%s: %s\n", expect.Well(d.Image, d.Arch), d.Summary())
		return true
	}
	for _, p := range problems[:min(len(problems), mostProblems)] {
		fmt.Fprintf(out, "corpus bad: %s\n", p)
	}
	fmt.Fprintf(out, "corpus bad: %s (%s): %d differences\n", d.Image, d.Arch, len(problems))
	return false
}

// runAll runs the commands and returns the problems.
func runAll(runs []expect.Run) []string {
	var problems []string
	for _, r := range runs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		out, err := exec.CommandContext(ctx, r.Args[0], r.Args[1:]...).CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), r.Contains) {
			problems = append(problems, fmt.Sprintf("%q said %q (%v), not %q", r.Args, out, err, r.Contains))
		}
	}
	return problems
}
