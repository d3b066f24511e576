package dockerhost

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
)

// sshOptions returns the options of a client of an engine behind
// "ssh HOST docker system dial-stdio". Ssh has no terminal there, so it asks
// nothing. It ends within a minute of a connection that is dead, for which TCP
// alone takes hours.
func sshOptions(host string) ([]client.Opt, error) {
	helper, err := connhelper.GetConnectionHelperWithSSHOpts(host, []string{"-o ServerAliveInterval=20", "-o ServerAliveCountMax=3"})
	if err != nil {
		return nil, err
	}
	return []client.Opt{client.WithHost(helper.Host), client.WithDialContext(helper.Dialer)}, nil
}

// placeholder is what docker's client calls every engine behind ssh.
const placeholder = "http://docker.example.com"

// sshError is the reason why an engine is not reached over ssh, and what to do
// about it.
type sshError struct {
	err          error
	said, remedy string
}

// Error implements error.
func (f *sshError) Error() string {
	if f.said == "" {
		return strings.ReplaceAll(f.err.Error(), " at "+placeholder, "")
	}
	return fmt.Sprintf("ssh says %q", f.said)
}

// Unwrap returns the error of the connection, with the command that ran.
func (f *sshError) Unwrap() error { return f.err }

// explainSSH finds out from the words of ssh, or of what it ran on the other
// machine, why an engine is not reached.
func explainSSH(host string, err error) *sshError {
	text, to := err.Error(), sshTarget(host)
	const start = "start Docker on that machine, and check that the user is in its group docker"
	f := &sshError{err: err, remedy: fmt.Sprintf("check that `%s docker version` works", to.command)}
	if _, said, found := strings.Cut(text, "stderr="); found {
		lines := strings.FieldsFunc(said, func(r rune) bool { return r == '\n' || r == '\r' })
		if len(lines) > 0 {
			f.said = strings.Trim(lines[len(lines)-1], "\" ")
		}
	}
	for _, c := range []struct{ words, remedy string }{
		{`"ssh": executable file not found`, "install OpenSSH's client (Debian's package openssh-client)"},
		{"HOST IDENTIFICATION HAS CHANGED", fmt.Sprintf("that machine has another host key than before; if it was installed anew, remove the old key with `ssh-keygen -R '%s'` and run `%s` once", to.known, to.command)},
		{"Host key verification failed", fmt.Sprintf("run `%s` once and accept that machine's host key", to.command)},
		{"Permission denied (", fmt.Sprintf("that machine accepts none of your keys; `ssh-copy-id %s` installs one there, and ssh-agent must hold one that has a passphrase", to.args)},
		{"Could not resolve hostname", "check the address"},
		{"ssh: connect to host", "check the address, and that the machine is up and runs an SSH server"},
		{"exit status 127", "install Docker on that machine, with its command line (Debian's packages docker.io and docker-cli)"},
		{"exit status 255", fmt.Sprintf("check that `%s` works", to.command)},
		// The client replaces what docker says of its socket there.
		{placeholder, start},
		{"exit status ", start},
	} {
		if strings.Contains(text, c.words) {
			f.remedy = c.remedy
			return f
		}
	}
	return f
}

// target is how programs name a machine.
type target struct {
	args    string // of ssh: "-p 2222 me@host"
	command string // with ssh itself
	known   string // in the file of known hosts: "[host]:2222"
}

func sshTarget(host string) target {
	u, err := url.Parse(host)
	if err != nil {
		return target{host, "ssh " + host, host}
	}
	t := target{args: u.Hostname(), known: u.Hostname()}
	if u.User.Username() != "" {
		t.args = u.User.Username() + "@" + t.args
	}
	if port := u.Port(); port != "" && port != "22" {
		t.args = "-p " + port + " " + t.args
		t.known = "[" + u.Hostname() + "]:" + port
	}
	t.command = "ssh " + t.args
	return t
}
