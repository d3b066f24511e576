package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"hookbuild/internal/fault"
)

// Terminal is the user's terminal. While a program runs on it, it is in raw
// mode: all keys go to the program, including Ctrl-C.
type Terminal struct {
	In, Out *os.File
	// Type is the value of TERM ("xterm-256color").
	Type string
	// Before, if not nil, is called after all preparations, before the first
	// program uses the terminal.
	Before func()
}

// NewTerminal returns an error unless in and out are a terminal.
func NewTerminal(in, out *os.File, kind string) (*Terminal, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil, fault.Usagef("standard input and output are not a terminal")
	}
	if kind == "" {
		kind = "xterm"
	}
	return &Terminal{In: in, Out: out, Type: kind}, nil
}

// discardFor is how long [Terminal.Discard] reads. Keys that were typed are
// available immediately.
const discardFor = 50 * time.Millisecond

// Discard discards the keys that were typed while nothing read them. They were
// meant for a menu that was not open yet, and would confuse the menu or run as
// commands in the shell that hookbuild was started from.
func (t *Terminal) Discard() (err error) {
	old, err := term.MakeRaw(int(t.In.Fd()))
	if err != nil {
		return fmt.Errorf("preparing the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(int(t.In.Fd()), old)) }()
	return t.drain()
}

// drain reads keys for a moment in raw mode.
func (t *Terminal) drain() error {
	input, err := cancelreader.NewReader(t.In)
	if err != nil {
		return fmt.Errorf("reading the terminal: %w", err)
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_, _ = io.Copy(io.Discard, input) // ends by Cancel
	}()
	time.Sleep(discardFor)
	if input.Cancel() {
		<-finished
	}
	return input.Close()
}

// interact runs the script on the user's terminal.
func (b *Builder) interact(ctx context.Context, id string, j job) (err error) {
	stream, err := b.docker.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return outside("attaching to the container: %w", err)
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	done, failed := b.docker.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if j.terminal.Before != nil {
		j.terminal.Before()
	}
	if err := j.terminal.Discard(); err != nil {
		return err
	}
	if err := b.docker.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return outside("starting the container: %w", err)
	}
	if err := b.connect(ctx, id, j.terminal, stream.Conn, stream.Reader); err != nil {
		return err
	}
	code, err := awaitExit(ctx, done, failed)
	if err == nil && code != 0 {
		err = fmt.Errorf("configuring the kernel of %s: the program on the terminal ended with exit code %d; nothing was changed", j.target.Flavor, code)
	}
	return err
}

// connect copies keys and screen output between the terminal and the container
// until the container closes the connection. It always restores the terminal.
func (b *Builder) connect(ctx context.Context, id string, t *Terminal, keys io.Writer, screen io.Reader) (err error) {
	old, err := term.MakeRaw(int(t.In.Fd()))
	if err != nil {
		return fmt.Errorf("preparing the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(int(t.In.Fd()), old)) }()
	input, err := cancelreader.NewReader(t.In)
	if err != nil {
		return fmt.Errorf("reading the terminal: %w", err)
	}
	watch, stop := context.WithCancel(ctx)
	finished := make(chan struct{}, 2)
	go func() {
		defer func() { finished <- struct{}{} }()
		// Copy keys until the program ends; the next key then stays unread.
		// An error here means that the program has ended, which its screen
		// shows as well.
		_, _ = io.Copy(keys, input)
	}()
	go func() {
		defer func() { finished <- struct{}{} }()
		b.attend(watch, id, t)
	}()
	_, err = io.Copy(t.Out, screen)
	stop()
	if input.Cancel() {
		<-finished
		<-finished
	}
	if err != nil && ctx.Err() == nil {
		return outside("showing the container's screen: %w", err)
	}
	return errors.Join(ctx.Err(), input.Close())
}

// sizeEvery is how often the window's size is read. Polling works on all
// systems, signals only on some.
const sizeEvery = 200 * time.Millisecond

// attend keeps the container's terminal at the window's size and marks the
// container as attended (see [turn]) until ctx ends.
func (b *Builder) attend(ctx context.Context, id string, t *Terminal) {
	var width, height int
	var beaten time.Time
	for {
		w, h, err := term.GetSize(int(t.Out.Fd()))
		if err == nil && (w != width || h != height) {
			err := b.docker.ContainerResize(ctx, id, container.ResizeOptions{Width: uint(w), Height: uint(h)})
			if err == nil { // otherwise the program has not started yet or has ended
				width, height = w, h
			}
		}
		if now := time.Now(); now.Sub(beaten) > beatEvery && b.beat(ctx, id, now) == nil {
			beaten = now
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sizeEvery):
		}
	}
}
