package dockerhost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/test/enginetest"
	"hookbuild/test/testneed"
)

// TestSSH reaches this machine's engine over ssh.
func TestSSH(t *testing.T) {
	testneed.Docker(t)
	s := enginetest.NewSSH(t)
	cli, err := ConnectTo(t.Context(), s.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if _, err := cli.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSSHFailures makes each thing go wrong that can between two machines. The
// errors are those of the real programs.
func TestSSHFailures(t *testing.T) {
	empty := t.TempDir()
	write(t, filepath.Join(empty, "no-docker"), "")
	for name, c := range map[string]struct {
		variables []string // of the server's sessions
		spoil     func(t *testing.T, s *enginetest.SSH)
		want      []string
	}{
		"unknown host key": {nil, func(t *testing.T, s *enginetest.SSH) { write(t, s.KnownHosts, "") },
			[]string{`ssh says "Host key verification failed."`, "run `ssh -p ", "accept that machine's host key"}},
		"changed host key": {nil, func(t *testing.T, s *enginetest.SSH) { write(t, s.KnownHosts, s.NewHostKey(t)) },
			[]string{`ssh says "Host key verification failed."`, "another host key than before", "`ssh-keygen -R '[127.0.0.1]:"}},
		"no key": {nil, func(t *testing.T, s *enginetest.SSH) {
			if err := os.Remove(s.Key); err != nil {
				t.Fatal(err)
			}
		}, []string{"Permission denied (publickey", "`ssh-copy-id -p ", " root@127.0.0.1` installs one"}},
		"no docker there":   {[]string{"PATH=" + empty}, nil, []string{"install Docker on that machine", "docker-cli"}},
		"no engine there":   {[]string{"DOCKER_HOST=unix://" + empty + "/none.sock"}, nil, []string{"Cannot connect to the Docker daemon. Is", "start Docker on that machine"}},
		"no ssh":            {nil, func(t *testing.T, _ *enginetest.SSH) { t.Setenv("PATH", empty) }, []string{"openssh-client"}},
		"no server":         {nil, func(t *testing.T, s *enginetest.SSH) { s.Host = "ssh://127.0.0.1:1" }, []string{"port 1: Connection refused", "runs an SSH server"}},
		"no machine":        {nil, func(t *testing.T, s *enginetest.SSH) { s.Host = "ssh://none.invalid" }, []string{"Could not resolve hostname", "check the address"}},
		"an option as host": {nil, func(t *testing.T, s *enginetest.SSH) { s.Host = "ssh://-oProxyCommand=x" }, []string{"-oProxyCommand"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := enginetest.NewSSH(t, c.variables...)
			if c.spoil != nil {
				c.spoil(t, s)
			}
			_, err := ConnectTo(t.Context(), s.Host)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			for _, want := range append(c.want, s.Host) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if fault.KindOf(err) != fault.Outside && !strings.Contains(name, "option") {
				t.Errorf("its kind is %v", fault.KindOf(err))
			}
		})
	}
}

// TestExplainSSH has the words that no test brings about.
func TestExplainSSH(t *testing.T) {
	const ran = "command [ssh -l me -- build.site docker system dial-stdio] has exited with "
	for said, want := range map[string]string{
		ran + "exit status 1, make sure: stderr=permission denied while trying to connect to the Docker daemon socket":           "start Docker on that machine, and check that the user is in its group docker",
		ran + "exit status 1, make sure: stderr=Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?": "start Docker on that machine",
		ran + "exit status 255, make sure: stderr=kex_exchange_identification: Connection closed by remote host":                 "check that `ssh me@build.site` works",
		"it has not answered for 1m0s": "check that `ssh me@build.site docker version` works",
	} {
		cause := errors.New(said)
		got := explainSSH("ssh://me@build.site", cause)
		if !strings.Contains(got.remedy, want) || !errors.Is(got, cause) {
			t.Errorf("%q: the remedy is %q", said, got.remedy)
		}
	}
	if got := sshTarget("ssh://me@h:22/x").command; got != "ssh me@h" {
		t.Errorf("the command is %q", got)
	}
}
