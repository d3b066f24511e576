package bundles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"hookbuild/internal/fault"
)

// Eksctl is the eksctl program on this machine.
type Eksctl struct {
	// Path is the program. Empty means eksctl in PATH.
	Path string
	// Patience is the time limit. 0 means one minute. Without a network, eksctl ends
	// only after its own time limits.
	Patience time.Duration
}

// Installed reports whether eksctl is on this machine. It does not run it.
func (e Eksctl) Installed() bool {
	path := e.Path
	if path == "" {
		path = "eksctl"
	}
	_, err := exec.LookPath(path)
	return err == nil
}

// Version runs "eksctl anywhere version" and returns its standard output, or "" if
// there is no eksctl. Without a network, or for a version that the list of releases
// does not have, the program fails after it has printed its version. That is enough,
// because the list can be read here; the note then says why it failed.
func (e Eksctl) Version(ctx context.Context) (output, note string, err error) {
	path := e.Path
	if path == "" {
		path, err = exec.LookPath("eksctl")
		if errors.Is(err, exec.ErrNotFound) {
			return "", "", nil
		}
		if err != nil {
			return "", "", fmt.Errorf("looking for eksctl: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "eksctl-") // it leaves a directory of logs where it runs
	if err != nil {
		return "", "", fmt.Errorf("creating a directory for eksctl's logs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	output, err = e.run(ctx, path, dir)
	if err == nil {
		return output, "", nil
	}
	if v, parseErr := readEksctl(output); ctx.Err() == nil && parseErr == nil {
		return output, fmt.Sprintf("eksctl anywhere prints %s and no bundle (%v); looking for its bundle in the list of releases", v.Version, err), nil
	}
	if errors.Is(err, context.Canceled) {
		return "", "", fmt.Errorf("running \"eksctl anywhere version\": %w", err)
	}
	return "", "", fault.Outsidef("running \"eksctl anywhere version\": %w; use --bundle FILE or --eksa-version instead", err)
}

// run returns the standard output, even with an error.
func (e Eksctl) run(ctx context.Context, path, dir string) (string, error) {
	patience := e.Patience
	if patience == 0 {
		patience = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it has not ended within its time limit of %s", patience))
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "anywhere", "version")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // for processes that it left behind
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return out.String(), fault.Ended(ctx)
	}
	if last := lastLine(said.String()); last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return out.String(), err
}

// lastLine returns the last line that is not empty, which is where programs put the
// reason.
func lastLine(text string) string {
	const longest = 300
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	return last[:min(len(last), longest)]
}
