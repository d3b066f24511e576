package verdict

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// read returns the console recorded in a file under testdata.
func read(t *testing.T, name string) *Console {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return console(t, string(text))
}

func console(t *testing.T, text string) *Console {
	t.Helper()
	r := newReader(func() time.Duration { return time.Second })
	if _, err := io.WriteString(r, text); err != nil {
		t.Fatal(err)
	}
	r.Flush()
	return &r.Console
}

func statuses(checks []Check) map[string]Status {
	all := map[string]Status{}
	for _, c := range checks {
		all[c.Name] = c.Status
	}
	return all
}

const embedded = "127.0.0.1/embedded/tink-worker"

// Consoles of machines that were booted.
func TestRecordedConsoles(t *testing.T) {
	called := network{Sent: time.Second, Called: 2 * time.Second}
	for _, test := range []struct {
		file    string
		network network
		want    map[string]Status
	}{
		{"hookos.txt", called, map[string]Status{Kernel: Passed, Init: Passed, Memory: Passed, Disk: Passed, NIC: Passed, Shell: NotSeen, Store: Passed, Dockerd: Passed, Images: NotSeen, Run: NotSeen, Worker: Passed}},
		{"hookos.txt", network{}, map[string]Status{Kernel: Passed, Init: Passed, Memory: Passed, Disk: Passed, NIC: NotSeen, Shell: NotSeen, Store: NotSeen, Dockerd: NotSeen, Images: NotSeen, Run: NotSeen, Worker: NotSeen}},
		{"little-memory.txt", network{}, map[string]Status{Kernel: Failed, Init: NotSeen, Memory: Failed, Disk: NotSeen, NIC: NotSeen, Shell: NotSeen, Store: NotSeen, Dockerd: NotSeen, Images: NotSeen, Run: NotSeen, Worker: NotSeen}},
	} {
		checks := judge(read(t, test.file), test.network, found{}, 0, embedded, nil)
		if diff := cmp.Diff(test.want, statuses(checks)); diff != "" {
			t.Errorf("%s:\n%s\n%+v", test.file, diff, checks)
		}
	}
}

// Lines that kernels write, each with the check that it decides.
func TestLines(t *testing.T) {
	const started = "[    4.6] Run /init as init process\n"
	for line, want := range map[string]map[string]Status{
		"[    0.0] Linux version 6.6.1 (x)\n":                                       {Kernel: Passed, Init: NotSeen},
		"[    1.0][    T1] Linux version 6.6.1 (x)\n":                               {Kernel: Passed},
		"echo Linux version 6.6.1\n":                                                {Kernel: NotSeen},
		"[    1.0] Kernel panic - not syncing: No working init found.\n":            {Kernel: Failed},
		started + "[    5.0] Kernel panic - not syncing: Attempted to kill init!\n": {Init: Failed, Kernel: NotSeen},
		started:             {Init: NotSeen},
		started + "login: ": {Init: Passed},
		"[    1.0] Initramfs unpacking failed: write error\n":                       {Init: Failed, Memory: Failed},
		"[    1.0] Initramfs unpacking failed: junk within compressed archive\n":    {Init: Failed, Memory: NotSeen},
		started + "init: copy root failed: write /mnt/x: no space left on device\n": {Memory: Failed},
		started + "[   90.1] Out of memory: Killed process 7 (dockerd)\n":           {Memory: Failed},
		"[    2.0]  sda: sda1\n":   {Disk: Passed},
		"[    2.0]  vda: vda1\n":   {Disk: Passed},
		"[    2.0]  nvme0n1: p1\n": {Disk: Passed},
		"[    2.0] sd 2:2:0:0: [sda] 2097152 512-byte logical blocks: (1.07 GB/1.00 GiB)\n": {Disk: Passed},
		"[    2.0] megaraid_sas 0000:00:03.0: Init cmd success\n":                           {Disk: NotSeen},
		"[    2.0]  loop0: p1\n": {Disk: NotSeen},
		"[    3.0] e1000e 0000:00:02.0 eth0: (PCI Express:2.5GT/s:Width x1) 52:54:00:48:4f:4b\n": {NIC: Passed},
		"[    3.0] igb 0000:00:02.0: added PHC on eth0\n":                                        {NIC: Passed},
		"[    3.0] vmxnet3 0000:00:02.0 ens2: renamed from eth0\n":                               {NIC: Passed},
		"[    3.0] e1000e: Intel(R) PRO/1000 Network Driver\n":                                   {NIC: NotSeen},
		"\x1b[2J\x1b[01;01H[    0.0] Linux version 6.6.1 (firmware's escapes before it)\r\n":     {Kernel: Passed},
	} {
		got := statuses(judge(console(t, line), network{}, found{}, 0, embedded, nil))
		for name, status := range want {
			if got[name] != status {
				t.Errorf("%q: %s %s, want %s", line, name, got[name], status)
			}
		}
	}
}

// A machine without a getty is given up when it is quiet, if nothing shows that the
// required checks may still pass.
func TestStalled(t *testing.T) {
	const booted = "[    0.0] Linux version 6.6.1 (x)\n[    4.6] Run /init as init process\ninit: here\n"
	all := []string{Kernel, Init, Disk, NIC, Worker}
	sent := network{Sent: time.Second}
	for name, test := range map[string]struct {
		console  string
		network  network
		getty    bool
		required []string
		after    time.Duration
		want     bool
	}{
		"quiet":                        {booted, network{}, false, all, 61 * time.Second, true},
		"not for long":                 {booted, network{}, false, all, 59 * time.Second, false},
		"with a getty":                 {booted, network{}, true, all, time.Hour, false},
		"before init":                  {"[    0.0] Linux version 6.6.1 (x)\n", network{}, false, all, time.Hour, false},
		"a frame was sent":             {booted, sent, false, all, time.Hour, false},
		"only a shell can show it":     {booted, sent, false, []string{Shell, Images}, 21 * time.Second, true},
		"a shell, and not only that":   {booted, sent, false, []string{Shell, Worker}, time.Hour, false},
		"a shell that may still start": {booted, sent, false, []string{Shell}, 19 * time.Second, false},
	} {
		c, s := console(t, test.console), newShell(nil)
		s.found.noGetty = !test.getty
		checks := judge(c, test.network, s.found, 0, embedded, test.required)
		if got := stalled(c, test.network, s, checks, test.after); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestWorkerImageFromARegistry(t *testing.T) {
	got := statuses(judge(&Console{}, network{Called: 1}, found{}, 0, "quay.io/tinkerbell/tink-worker:latest", nil))
	if got[Store] != NotSeen || got[Dockerd] != Passed {
		t.Errorf("a call proves no store when the image may come from a registry: %v", got)
	}
}

func TestConsoleKeepsTheLastLines(t *testing.T) {
	last := console(t, strings.Repeat("line\n\n", 100)+"\x00prompt# ").lastLines()
	if len(last) != keptLines || last[keptLines-1] != "prompt#" {
		t.Errorf("%d lines, the last %q", len(last), last[len(last)-1])
	}
	if long := console(t, strings.Repeat("x", longestLine+1)).lastLines(); len(long) != 2 {
		t.Errorf("an endless line becomes %d", len(long))
	}
}

func TestFrames(t *testing.T) {
	mac, other := address(), net.HardwareAddr{2, 0, 0, 0, 0, 1}
	frame := func(source net.HardwareAddr) []byte {
		b := make([]byte, 16+60)
		binary.NativeEndian.PutUint32(b[8:], 60)
		copy(b[16+6:], source)
		return b
	}
	header := make([]byte, 24)
	ours := append(bytes.Clone(header), frame(mac)...)
	both := append(append(bytes.Clone(header), frame(other)...), frame(mac)...)
	for name, test := range map[string]struct {
		capture []byte
		offset  int64
		want    bool
	}{
		"nothing": {nil, 0, false}, "no frame": {header, 0, false}, "ours": {ours, 0, true}, "half of it": {ours[:50], 0, false},
		"the firmware's": {ours, int64(len(ours)), false}, "the network's first": {both, 0, true}, "the network's alone": {both[:24+76], 0, false},
	} {
		if got := sentBy(test.capture, test.offset, mac); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestListener(t *testing.T) {
	for sent, want := range map[string]string{
		preface + "more": "called", "\x16\x03\x01": "asks for TLS", "GET / HTTP/1.1\r\nHost: x\r\n\r\n": "it sent \"GET", "": "it sent nothing",
	} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		b := &boot{start: time.Now()}
		var serving sync.WaitGroup
		serving.Go(func() { b.listen(l, &serving) })
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		// The listener closes after a complete preface; before, it waits.
		if len(sent) < len(preface) {
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && len(sent) <= len(preface) { // with unread bytes it is reset
			t.Errorf("%q: %v", sent, err)
		}
		_ = conn.Close()
		_ = l.Close()
		serving.Wait()
		if got := judgeWorker(b.network); (got.Status == Passed) != (want == "called") || want != "called" && !strings.Contains(got.Found, want) {
			t.Errorf("%q: %+v", sent, got)
		}
	}
}

func TestJUnit(t *testing.T) {
	r := Report{Machine: "x86_64", Seconds: 1.5, Console: []string{"a\x1bb <c>"}, Checks: []Check{
		{Name: "one", Status: Passed, Required: true},
		{Name: "two", Status: NotSeen},
		{Name: "three", Status: NotSeen, Required: true, Found: "looked <there>"},
		{Name: "four", Status: Failed},
	}}
	if bad := r.Bad(); len(bad) != 2 || bad[0].Name != "three" || bad[1].Name != "four" || len(r.Checks) != 4 {
		t.Errorf("bad are %+v", bad)
	}
	var out bytes.Buffer
	if err := r.WriteJUnit(&out); err != nil {
		t.Fatal(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(out.Bytes(), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 4 || suite.Failures != 2 || suite.Skipped != 1 || suite.Cases[1].Skipped == nil || suite.Cases[2].Failure.Message != "not seen: looked <there>" || suite.Out != "ab <c>" {
		t.Errorf("%s", out.String())
	}
}
