package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
	"hookbuild/site"
)

// asks reports whether init asks: nothing is given, and there is someone to ask.
func (d *draftFor) asks() bool {
	for _, option := range []string{"cluster", "hardware", "lspci"} {
		if d.c.IsSet(option) {
			return false
		}
	}
	in, isFile := d.a.stdin.(*os.File)
	return isFile && d.c.NArg() == 0 && term.IsTerminal(int(in.Fd()))
}

// question is a question and what is done with the answer. The answer to a
// question is empty if only Enter is pressed.
type question struct {
	text string
	take func(answer string) error
	// skip, if not nil, reports whether earlier answers leave nothing to ask.
	skip func() bool
}

func (d *draftFor) questions() []question {
	list := func(answer string) []string {
		if answer == "" {
			return nil
		}
		return []string{answer}
	}
	fromBundle := "no"
	if d.eksctl.Installed() {
		fromBundle = "yes, because eksctl is on this machine"
	}
	all := []question{
		{text: "Flavor, as hookbuild flavors lists them (Enter: " + flavor.Default("amd64") + "): ", take: d.takeFlavor},
		{text: "Cluster specification of EKS Anywhere, a file (Enter: none): ", take: d.takeCluster},
		{
			text: "Embed the action images of EKS Anywhere's release, yes or no (Enter: " + fromBundle + "): ", take: d.takeBundle,
			skip: func() bool { return d.answers.Cluster != "" },
		},
		{text: "hardware.csv, a file (Enter: none): ", take: d.takeHardware},
		{text: "Devices of a machine, a file with the output of lspci -nn (Enter: none): ", take: func(answer string) error { return d.takeDevices(list(answer)) }},
	}
	if d.hook.Dir != "" {
		return all
	}
	hook := question{text: "Hook checkout, a directory (Enter: upstream's, fetched): ", take: func(answer string) error {
		if answer == "" {
			return nil
		}
		return d.findHook(answer)
	}}
	return append([]question{hook}, all...)
}

// ask asks on the terminal. A wrong answer is asked for again.
func (d *draftFor) ask() error {
	in, stop, err := d.answerReader()
	if err != nil {
		return err
	}
	defer stop()
	d.say("%s says what this site wants; every answer can be changed in it later.\n", site.Name)
	for _, q := range d.questions() {
		for q.skip == nil || !q.skip() {
			d.say("%s", q.text)
			line, err := in.ReadString('\n')
			switch {
			case d.c.Context.Err() != nil:
				d.say("\n") // the error goes below the question
				return d.c.Context.Err()
			case errors.Is(err, io.EOF):
				d.say("\n")
				return fault.Usagef("asking for what the file needs: the terminal was closed; no file was written")
			case err != nil:
				return fmt.Errorf("reading the answer: %w", err)
			}
			if err := q.take(strings.TrimSpace(line)); err != nil {
				d.say("  %s\n", harmlessError{err}.Error())
				continue
			}
			break
		}
	}
	return nil
}

// answerReader reads the terminal until the command is interrupted.
func (d *draftFor) answerReader() (*bufio.Reader, func(), error) {
	in, err := cancelreader.NewReader(d.a.stdin)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the terminal: %w", err)
	}
	end := context.AfterFunc(d.c.Context, func() { in.Cancel() })
	return bufio.NewReader(in), func() { end(); _ = in.Close() }, nil // only read
}

// say writes to the user's terminal.
func (d *draftFor) say(format string, args ...any) {
	_ = d.a.face.Settle() // Close returns the same error
	fmt.Fprintf(d.a.stderr, format, args...)
}
