package verdict

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookbuild/test/testneed"
)

// terminal passes what is typed to a program, as a terminal does: it echoes, and ends
// lines as programs expect.
type terminal struct {
	in      io.Writer
	console io.Writer
}

func (t terminal) Write(p []byte) (int, error) {
	if _, err := t.console.Write(bytes.ReplaceAll(p, []byte("\r"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	_, err := t.in.Write(bytes.ReplaceAll(p, []byte("\r"), []byte("\n")))
	return len(p), err
}

// talkTo has the conversation with a real shell that finds the script as docker. It
// leaves out the first question, which changes settings of the kernel.
func talkTo(t *testing.T, images []Image, docker string) (*reader, *shell) {
	t.Helper()
	dir := t.TempDir()
	if docker != "" {
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+docker), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"grep", "readlink", "basename"} {
		if err := os.Symlink(testneed.Tool(t, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "sh"))
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // its exit code is that of the last command
	})
	r := newReader(func() time.Duration { return time.Second })
	r.shell = newShell(images)
	r.shell.in, r.shell.asks = terminal{in, r}, r.shell.asks[1:]
	now := time.Unix(0, 0)
	for r.shell.state != done {
		now = now.Add(probePeriod)
		r.shell.step(now, "")
		for number := r.shell.number; r.shell.state != idle && r.shell.state != done && r.shell.number == number; {
			part := make([]byte, 100)
			n, err := out.Read(part)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = r.Write(part[:n])
		}
	}
	return r, r.shell
}

func TestShell(t *testing.T) {
	images := []Image{{"sha256:aa", []string{"127.0.0.1/embedded/data:1"}}, {"sha256:bb", []string{"127.0.0.1/embedded/cexec:latest", "quay.io/cexec:v1"}}}
	const list = "echo image sha256:aa 127.0.0.1/embedded/data:1; echo image sha256:bb 127.0.0.1/embedded/cexec:latest; echo image sha256:bb quay.io/cexec:v1"
	const up = `case "$1 $*" in "images "*) ` + list + `;; *cexec*) echo 0123;; *) echo "no command specified"; exit 125;; esac`
	for name, test := range map[string]struct {
		docker string
		images []Image
		want   map[string]Status
		say    map[string]string
	}{
		"well":           {up, images, map[string]Status{Shell: Passed, Store: Passed, Dockerd: Passed, Images: Passed, Run: Passed}, map[string]string{Images: "(2)", Run: "embedded/cexec"}},
		"dockerd starts": {`[ -e up ] || { echo > up; echo Cannot connect; exit 1; }; ` + up, images, map[string]Status{Images: Passed, Run: Passed}, nil},
		"lacking":        {`echo image sha256:aa 127.0.0.1/embedded/data:1`, images, map[string]Status{Dockerd: Passed, Images: Failed, Run: Passed}, map[string]string{Images: "quay.io/cexec:v1"}},
		"another ID":     {`echo image sha256:cc 127.0.0.1/embedded/data:1`, images[:1], map[string]Status{Images: Failed}, map[string]string{Images: "data:1"}},
		"none runs":      {`[ "$1" = images ] || { echo exec format error; exit 126; }; ` + list, images, map[string]Status{Images: Passed, Run: Failed}, map[string]string{Run: "126: exec format error"}},
		"no docker":      {"", images, map[string]Status{Shell: Passed, Store: NotSeen, Dockerd: NotSeen, Images: NotSeen, Run: NotSeen}, map[string]string{Images: "ends with 127"}},
		"nothing inside": {up, nil, map[string]Status{Dockerd: Passed, Images: NotSeen, Run: NotSeen}, map[string]string{Images: "no image is known"}},
	} {
		r, s := talkTo(t, test.images, test.docker)
		checks := judge(&r.Console, network{}, s.found, len(test.images), embedded, nil)
		got := statuses(checks)
		for check, status := range test.want {
			if got[check] != status {
				t.Errorf("%s: %s %s, want %s: %+v", name, check, got[check], status, s.found)
			}
		}
		for _, c := range checks {
			if !strings.Contains(c.Found, test.say[c.Name]) {
				t.Errorf("%s: %s says %q, want %q", name, c.Name, c.Found, test.say[c.Name])
			}
		}
		if s.found.total == 0 || s.found.used <= 0 || s.found.used > s.found.total {
			t.Errorf("%s: memory %d of %d", name, s.found.used, s.found.total)
		}
		// Lines that come again are no answer.
		for _, line := range []string{"begin-", "end-"} {
			s.line(1, said+line+strconv.Itoa(s.number)+map[string]string{"end-": " 0"}[line])
		}
		if s.patience() != 0 || strings.Contains(strings.Join(r.Console.lastLines(), "\n"), mark) {
			t.Errorf("%s: patience %s, lines %q", name, s.patience(), r.Console.lastLines())
		}
	}
}

// A console that asks for a login is left alone, and one that says nothing is asked
// again.
func TestShellThatDoesNotAnswer(t *testing.T) {
	var typed bytes.Buffer
	s := newShell(nil)
	s.in = &typed
	start := time.Unix(0, 0)
	s.step(start, "hookos login: ")
	if typed.Len() > 0 || !s.found.login || s.patience() != 0 || !strings.Contains(judgeShell(s.found).Found, "asks for a login") {
		t.Errorf("at a login it types %q: %+v", typed.String(), s.found)
	}
	s = newShell(nil)
	s.in = &typed
	for _, at := range []time.Duration{0, time.Second, probePeriod, probePeriod + 1} {
		s.step(start.Add(at), "")
	}
	if n := strings.Count(typed.String(), "begin-"); n != 2 || s.patience() == 0 {
		t.Errorf("in silence it types %d times: %q", n, typed.String())
	}
	// The answer to the first probe comes late, and a command hangs.
	s.line(0, said+"begin-1")
	s.line(0, said+"begin-2")
	s.line(0, said+"end-2 0")
	s.step(start.Add(2*probePeriod), "")
	s.line(0, said+"begin-3")
	typed.Reset()
	s.step(start.Add(2*probePeriod+answerPeriod), "")
	if typed.String() != "\x03" || s.state != idle {
		t.Errorf("after a command that hangs it types %q, state %d", typed.String(), s.state)
	}
}

// The drivers of cards and disks, as sysfs of machines has them.
func TestHardware(t *testing.T) {
	s := newShell(nil)
	s.lines = []string{
		"driver /sys/class/net/eth0 e1000e", "driver /sys/block/sr0 sr virtio_scsi virtio-pci", "driver /sys/block/sda sd megaraid_sas",
		"driver /sys/class/net/eth1", "another program's line",
	}
	takeHardware(s, 1)
	if s.found.nic.text != "eth0 has the driver e1000e" || s.found.disk.text != "sda has the driver sd, on megaraid_sas" {
		t.Errorf("%+v", s.found)
	}
}
