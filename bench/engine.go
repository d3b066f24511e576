package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// engine is a dockerd for this run only. So it starts without images whatever
// the machine's has, its processor time and memory are those of the measured
// work, and nothing of it remains when it ends.
type engine struct {
	socket string
	log    string
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error // of the end
}

// startEngine starts a dockerd on a data root and waits until it answers.
func startEngine(ctx context.Context, dir, root string, flags ...string) (*engine, error) {
	config := filepath.Join(dir, "daemon.json")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(config, []byte("{}"), 0o600)); err != nil {
		return nil, err
	}
	e := &engine{socket: filepath.Join(dir, "docker.sock"), log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	log, err := os.Create(e.log)
	if err != nil {
		return nil, err
	}
	e.cmd = exec.Command("dockerd", //nolint:noctx // Close ends it in order, after the context too
		append([]string{
			"--config-file", config, "--data-root", root, "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
			"--host", "unix://" + e.socket, "--bridge=none", "--iptables=false",
		}, flags...)...)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	// Protect it from a terminal's Ctrl-C: it is stopped in its turn.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = e.cmd.Start()
	if err = errors.Join(err, log.Close()); err != nil {
		return nil, fmt.Errorf("starting dockerd: %w", err)
	}
	go func() {
		e.err = e.cmd.Wait()
		close(e.ended)
	}()
	if err := e.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting dockerd: %w: %s", err, e.said()), e.stop())
	}
	return e, nil
}

// await waits until the engine answers.
func (e *engine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not answer within a minute"))
	defer cancel()
	for !e.answers(ctx) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.ended:
			return errors.New("it ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (e *engine) answers(ctx context.Context) bool {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// said returns the end of the engine's log.
func (e *engine) said() string {
	content, err := os.ReadFile(e.log)
	if err != nil {
		return err.Error()
	}
	return tail(string(content))
}

// use makes a command's docker use this engine and an empty configuration.
func (e *engine) use(c command) command {
	c.env = append(c.env, "DOCKER_HOST=unix://"+e.socket, "DOCKER_CONFIG="+filepath.Dir(e.socket), "DOCKER_CONTEXT=", "DOCKER_BUILDKIT=0")
	return c
}

// usage returns the cost of the engine and its processes so far.
func (e *engine) usage() (cost, error) {
	select {
	case <-e.ended:
		return costOf(e.cmd.ProcessState), nil
	default:
	}
	all, err := family(e.cmd.Process.Pid)
	if err != nil {
		return cost{}, err
	}
	var spent cost
	for _, p := range all {
		peak, err := memoryOf(p.pid, "VmHWM")
		if err != nil {
			return cost{}, err
		}
		spent = spent.then(cost{cpu: p.cpu, peak: peak})
	}
	return spent, nil
}

// stop ends the engine in an orderly way; it may be called again.
func (e *engine) stop() error {
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping dockerd: %w", err)
	}
	select {
	case <-e.ended:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(errors.New("stopping dockerd: it does not end; it is killed"), e.cmd.Process.Kill())
	}
}
