package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command is a program to run and measure.
type command struct {
	args []string
	env  []string  // in addition to the environment
	dir  string    // "" means this process's
	said io.Writer // receives standard output and error, which errors also quote; may be nil
	// during, if set, is called with the program's process while it runs.
	during func(pid int)
}

// script returns a command that runs lines of bash, which get args as $1, $2...
func script(lines string, args ...string) command {
	return command{args: append([]string{"bash", "-euo", "pipefail", "-c", lines, "bash"}, args...)}
}

// run runs a program, including those that it starts, to its end.
func (c command) run(ctx context.Context) (cost, error) {
	var text tailWriter
	cmd := exec.CommandContext(ctx, c.args[0])
	cmd.Env, cmd.Dir = append(os.Environ(), c.env...), c.dir
	reports, started, err := launcher(cmd, c.args)
	if err != nil {
		return cost{}, err
	}
	defer reports.Close() // only read
	cmd.Stdout, cmd.Stderr = &text, &text
	if c.said != nil {
		cmd.Stdout = io.MultiWriter(&text, c.said)
		cmd.Stderr = cmd.Stdout
	}
	// A separate process group, so that all of a pipe can be ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	err = cmd.Start()
	if err := errors.Join(err, started()); err != nil {
		return cost{}, err
	}
	in := json.NewDecoder(reports)
	var begin, end report
	told := in.Decode(&begin)
	if told == nil && c.during != nil {
		c.during(begin.PID)
	}
	if told == nil {
		told = in.Decode(&end)
	}
	err = cmd.Wait()
	spent := costOf(cmd.ProcessState)
	spent.wall, spent.peak = time.Since(began), end.Peak
	if ctx.Err() != nil {
		return spent, context.Cause(ctx)
	}
	if err != nil {
		return spent, fmt.Errorf("running %q: %w: %s", strings.Join(c.args, " "), err, text.String())
	}
	if told != nil {
		return spent, fmt.Errorf("measuring %q: %w", strings.Join(c.args, " "), told)
	}
	return spent, nil
}

// costOf returns the CPU time of a process that ended, including its
// children's.
func costOf(s *os.ProcessState) cost { return cost{cpu: s.UserTime() + s.SystemTime()} }

// tailWriter keeps the end of what is written to it.
type tailWriter struct{ text []byte }

// Write implements io.Writer.
func (t *tailWriter) Write(p []byte) (int, error) {
	const most = 2 << 10
	t.text = append(t.text, p...)
	if over := len(t.text) - most; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tailWriter) String() string { return string(bytes.TrimSpace(t.text)) }

// tail returns the end of a text, for messages.
func tail(text string) string {
	var t tailWriter
	_, _ = t.Write([]byte(text)) // never fails
	return t.String()
}

// settle writes the data of earlier work to disk before the next is measured.
func settle() { syscall.Sync() }
