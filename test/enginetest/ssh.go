package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookbuild/test/testneed"
)

// SSH is an OpenSSH server of this machine on a port of its own, for its user
// alone. It ends with the test.
type SSH struct {
	// Host is its address as --builder takes it, and Address as HOST:PORT.
	Host, Address string
	// KnownHosts is the file in which ssh finds the server's key, and Key the
	// one with the user's.
	KnownHosts, Key string

	ssh string // the program
}

// NewSSH starts a server whose sessions have the variables, each NAME=VALUE. For
// the time of the test, the program ssh that is found in PATH uses no
// configuration but that of the server.
func NewSSH(t testing.TB, variables ...string) *SSH {
	t.Helper()
	testneed.Root(t)
	server := tool(t, "sshd", "openssh-server")
	if !filepath.IsAbs(server) {
		t.Fatalf("sshd is %q; it starts itself again by its whole path", server)
	}
	dir, address := t.TempDir(), freeAddress(t)
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	s := &SSH{Host: "ssh://root@" + address, Address: address, KnownHosts: in("known"), Key: in("user"), ssh: tool(t, "ssh", "openssh-client")}
	public := map[string]string{}
	for _, name := range []string{"host", "user"} {
		public[name] = newKey(t, in(name))
	}
	write(t, s.KnownHosts, fmt.Sprintf("[%s]:* %s", host, public["host"]))
	write(t, in("authorized"), public["user"])
	config := []string{
		"ListenAddress " + address, "HostKey " + in("host"), "AuthorizedKeysFile " + in("authorized"), "StrictModes no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "UsePAM no", "PidFile none",
	}
	if len(variables) > 0 {
		config = append(config, "SetEnv "+strings.Join(variables, " "))
	}
	write(t, in("sshd_config"), strings.Join(config, "\n")+"\n")
	write(t, in("ssh_config"), strings.Join([]string{
		"IdentityFile " + s.Key, "IdentitiesOnly yes", "UserKnownHostsFile " + s.KnownHosts, "GlobalKnownHostsFile /dev/null",
	}, "\n")+"\n")
	s.putInPath(t, in("ssh_config"))
	serve(t, server, in("sshd_config"), address)
	return s
}

// NewHostKey returns the line of a file of known hosts that has another key for
// the server than its own.
func (s *SSH) NewHostKey(t testing.TB) string {
	t.Helper()
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(string(known), " ")
	return name + " " + newKey(t, filepath.Join(t.TempDir(), "other"))
}

// putInPath puts a program ssh in front of PATH that runs the real one with the
// configuration.
func (s *SSH) putInPath(t testing.TB, config string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ssh"), fmt.Sprintf("#!/bin/sh\nexec %s -F %s \"$@\"\n", s.ssh, config))
	if err := os.Chmod(filepath.Join(dir, "ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// serve runs the server and waits until it listens.
func serve(t testing.TB, program, config, address string) {
	t.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // without it no session begins
		t.Fatal(err)
	}
	var log strings.Builder
	c := exec.Command(program, "-D", "-e", "-f", config)
	c.Stdout, c.Stderr = &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // it ends by the signal
		close(ended)
	}()
	t.Cleanup(func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
		if t.Failed() {
			t.Logf("sshd says:\n%s", log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case <-ended:
			t.Fatalf("sshd ended:\n%s", log.String())
		case <-ctx.Done():
			t.Fatalf("sshd does not listen: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// newKey writes a key pair and returns the public one, a line.
func newKey(t testing.TB, name string) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), tool(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public, err := os.ReadFile(name + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(public)
}

// tool returns the path of a program of a Debian package, or ends the test.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testneed.Missing(t, name, err.Error()+"; Debian's package "+pkg+" has it")
	}
	return path
}
