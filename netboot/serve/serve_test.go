package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pin/tftp/v3"

	"hookbuild/internal/progress"
	"hookbuild/netboot"
	"hookbuild/test/nettest"
	"hookbuild/test/slowtest"
)

// helperEnv turns the test binary into a server, for tests that need a process in a
// network namespace.
const helperEnv = "HOOKBUILD_TEST_SERVE_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(helperEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := Run(ctx, Options{
		Plan: labPlan(&fatal{}), Artifacts: dir, IPXE: []string{dir}, DHCP: true, Interface: nettest.ServerDev,
		Ready: func() { fmt.Println("ready") },
	})
	stop()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// fatal is what a plan made outside a test fails with.
type fatal struct{ testing.TB }

func (*fatal) Helper()          {}
func (*fatal) Fatal(why ...any) { panic(fmt.Sprint(why...)) }

// labPlan returns a plan that serves from the address of the wire's server.
func labPlan(t testing.TB) *netboot.Plan {
	return nettest.PlanOf(t, netboot.Options{Phase: netboot.Cluster, TinkerbellIP: netip.MustParseAddr(nettest.ServerIP), Domain: "example.net"}, nettest.HardwareCSV)
}

// lab writes artifacts and programs into one directory.
func lab(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"vmlinuz-x86_64": "kernel", "initramfs-x86_64": strings.Repeat("0123456789", 1000), "ipxe.efi": "efi program", "snponly.efi": "snp program",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freePort finds a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a server on the loopback address and returns its options.
func start(t *testing.T, edit func(*Options)) Options {
	t.Helper()
	p := labPlan(t)
	p.Address = netip.MustParseAddr("127.0.0.1")
	base := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	p.ScriptURL, p.BinaryURL = base+"/ipxe/script/auto.ipxe", base+"/ipxe/binary/"
	dir := lab(t)
	ready := make(chan struct{})
	o := Options{Plan: p, Artifacts: dir, IPXE: []string{dir}, TFTPPort: freePort(t), SyslogPort: freePort(t), Ready: func() { close(ready) }}
	if edit != nil {
		edit(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-end:
		end <- nil
		t.Fatal(err)
	}
	return o
}

func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHTTP(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	o := start(t, func(o *Options) {
		o.Progress = sinkFunc(func(e progress.Event) {
			mu.Lock()
			defer mu.Unlock()
			log.WriteString(e.Text + "\n")
		})
	})
	base := strings.TrimSuffix(o.Plan.BinaryURL, "/ipxe/binary/")
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/ipxe/binary/ipxe.efi", 200, "efi program"},
		{"/ipxe/binary/00:00:5e:00:53:11/ipxe.efi", 200, "efi program"},
		{"/ipxe/binary/snp-x86_64.efi", 200, "snp program"},
		{"/ipxe/binary/absent.efi", 404, "404 page not found\n"},
		{"/ipxe/binary/..%2f..%2fetc/passwd", 404, "404 page not found\n"},
		{"/hook/vmlinuz-x86_64", 200, "kernel"},
		{"/hook/", 404, "404 page not found\n"},
		{"/hook/%2e%2e/secret", 404, "404 page not found\n"},
		{"/hook//etc/passwd", 404, "404 page not found\n"},
		{"/ipxe/script/auto.ipxe", 404, ""}, // this address is no machine's
		{"/ipxe/script/00:00:5e:00:53:99/auto.ipxe", 404, ""},
		{"/", 404, "404 page not found\n"},
	} {
		if status, body := get(t, base+tt.path); status != tt.status || body != tt.body {
			t.Errorf("GET %s: %d %q", tt.path, status, body)
		}
	}
	mu.Lock()
	for _, want := range []string{"/ipxe/script/auto.ipxe: 404: " + o.Plan.Address.String() + " is not a machine in hardware.csv\n", "auto.ipxe: 404: 00:00:5e:00:53:99 is not a machine in hardware.csv\n"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log.String())
		}
	}
	mu.Unlock()
	if status, body := get(t, base+"/hook/initramfs-x86_64", "Range", "bytes=10-14"); status != 206 || body != "01234" {
		t.Errorf("range: %d %q", status, body)
	}
	resp, err := http.Post(base+"/hook/vmlinuz-x86_64", "", nil)
	if err != nil || resp.StatusCode != 405 {
		t.Error(err, resp.Status)
	}
	resp.Body.Close()
}

type sinkFunc func(progress.Event)

func (f sinkFunc) Report(e progress.Event) { f(e) }

// Clients that stop reading an artifact or a program, or never end their request, are
// disconnected in time, and the log names them. Meanwhile others are served.
func TestSlowClients(t *testing.T) {
	const clients = 1000
	var mu sync.Mutex
	stopped := map[string]int{}
	all := make(chan struct{})
	sink := sinkFunc(func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"initramfs-x86_64", "ipxe.efi"} {
			if strings.Contains(e.Text, name+": 200: stopped after ") {
				stopped[name]++
				if stopped["initramfs-x86_64"] == clients/2 && stopped["ipxe.efi"] == clients/2 {
					close(all)
				}
			}
		}
	})
	o := start(t, func(o *Options) {
		o.ReadTimeout, o.Progress = 2*time.Second, sink
		for _, name := range []string{"initramfs-x86_64", "ipxe.efi"} {
			if err := os.WriteFile(filepath.Join(o.Artifacts, name), make([]byte, 32<<20), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	host := strings.TrimPrefix(strings.TrimSuffix(o.Plan.BinaryURL, "/ipxe/binary/"), "http://")
	var slow []*slowtest.Clients
	for _, path := range []string{"/hook/initramfs-x86_64", "/ipxe/binary/ipxe.efi"} {
		slow = append(slow, slowtest.Open(t, host, clients, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	if status, body := get(t, "http://"+host+"/hook/vmlinuz-x86_64"); status != 200 || body != "kernel" {
		t.Errorf("meanwhile: %d %q", status, body)
	}
	for _, s := range slow {
		s.Cut(time.Minute)
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("%v are cut off", stopped)
	}
}

func TestScript(t *testing.T) {
	o := start(t, func(o *Options) { o.Cmdline, o.Console = "quiet", "ttyS0" })
	base := strings.TrimSuffix(o.Plan.BinaryURL, "/ipxe/binary/")
	status, body := get(t, base+"/ipxe/script/00-00-5E-00-53-21/auto.ipxe")
	if status != 200 || !strings.HasPrefix(body, "#!ipxe\n") {
		t.Fatalf("%d %s", status, body)
	}
	for _, want := range []string{
		"kernel " + base + "/hook/vmlinuz-${arch} vlan_id=120 facility=onprem syslog_host=127.0.0.1 grpc_authority=127.0.0.1:42113 ",
		" worker_id=00:00:5e:00:53:21 hw_addr=00:00:5e:00:53:21 ", " initrd=initramfs-${arch} ",
		"tink_worker_image=127.0.0.1/embedded/tink-worker:latest quiet ||", " console=tty0 console=ttyS0 ",
		"initrd " + base + "/hook/initramfs-${arch}", "set syslog 127.0.0.1\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the script lacks %q:\n%s", want, body)
		}
	}
}

func TestAnyMachineIsToldByItsOwnMAC(t *testing.T) {
	o := start(t, func(o *Options) { o.AnyMachine, o.GRPC = true, "192.0.2.7:42113" })
	status, body := get(t, o.Plan.ScriptURL)
	if status != 200 || !strings.Contains(body, "worker_id=${mac} hw_addr=${mac}") || !strings.Contains(body, "grpc_authority=192.0.2.7:42113") {
		t.Errorf("%d %s", status, body)
	}
}

func TestTFTP(t *testing.T) {
	o := start(t, nil)
	c, err := tftp.NewClient(fmt.Sprintf("127.0.0.1:%d", o.TFTPPort))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ipxe.efi": "efi program", "00:00:5e:00:53:11/ipxe.efi": "efi program", "/snp-x86_64.efi": "snp program"} {
		to, err := c.Receive(name, "octet")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got bytes.Buffer
		if _, err := to.WriteTo(&got); err != nil || got.String() != want {
			t.Errorf("%s: %q %v", name, &got, err)
		}
	}
	for _, name := range []string{"absent", "../../../etc/passwd", "."} {
		if _, err := c.Receive(name, "octet"); err == nil {
			t.Errorf("%s: received", name)
		}
	}
}

func TestSyslog(t *testing.T) {
	lines := make(chan string, 10)
	o := start(t, func(o *Options) { o.Log = func(line string) { lines <- line } })
	conn, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", o.SyslogPort))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("<30>Nov 22 10:00:00 hook bootkit[12]: pulling \x1b[31mimage")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-lines:
		if got != "127.0.0.1 info bootkit: pulling [31mimage" {
			t.Errorf("%q", got)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was printed")
	}
}

func TestSyslogLine(t *testing.T) {
	for message, want := range map[string]string{
		"<165>1 2026-11-22T10:00:00Z host app 1 - - started": "notice app: started",
		"<4>Nov 22 10:00:00 host dhcp: no lease":             "warning dhcp: no lease",
		"<6>host ipxe: loading":                              "info host ipxe: loading",
		"<30> 2026-11-22T10:00:00Z host dockerd[7]: ready":   "info dockerd: ready",
		"<30>Nov  2 10:00:00 host tag: a: b":                 "info tag: a: b",
		`<14>1 - - app - ID [x@1 k="a \]\" b"][y] done: yes`: "info app: done: yes",
		"<14>1 - - - - - -":                                  "info ",
		"<191>last":                                          "debug last",
		"<192>no priority":                                   "<192>no priority",
		"<x>":                                                "<x>",
		"":                                                   "",
		"just text\n":                                        "just text",
		"\x00\x01":                                           "",
	} {
		if got := syslogLine([]byte(message)); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}

func FuzzSyslogLine(f *testing.F) {
	f.Add([]byte("<30>Nov 22 10:00:00 hook bootkit[12]: x"))
	f.Add([]byte("<165>1 2026-11-22T10:00:00Z host app 1 - - started"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if line := syslogLine(message); strings.ContainsAny(line, "\n\r\x1b\x00") {
			t.Errorf("%q", line)
		}
	})
}

func TestRefusals(t *testing.T) {
	dir := lab(t)
	for want, o := range map[string]Options{
		"there is no pair":         {Plan: labPlan(t), Artifacts: t.TempDir()},
		"absent: no such file":     {Plan: labPlan(t), Artifacts: filepath.Join(dir, "absent")},
		"install the package ipxe": {Plan: labPlan(t), IPXE: []string{filepath.Join(dir, "absent")}},
	} {
		if err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// A directory without a program that firmware is told to load is warned of.
func TestMissingPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		remove string
		want   []string
	}{
		"one":  {"", []string{"no iPXE program for BIOS (undionly.kpxe) in "}},
		"both": {"ipxe.efi", []string{"no iPXE program for BIOS (undionly.kpxe), UEFI x86-64 (ipxe.efi) in "}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := lab(t)
			if test.remove != "" {
				if err := os.Remove(filepath.Join(dir, test.remove)); err != nil {
					t.Fatal(err)
				}
			}
			var warned []string
			s := &server{Options: Options{Plan: labPlan(t), Artifacts: dir, IPXE: []string{dir}, Progress: sinkFunc(func(e progress.Event) {
				if e.Kind == progress.Warning {
					warned = append(warned, e.Text)
				}
			})}}
			if err := s.look(); err != nil {
				t.Fatal(err)
			}
			if len(warned) != 1 || !strings.Contains(warned[0], test.want[0]) || !strings.Contains(warned[0], "--ipxe DIR") {
				t.Errorf("warned %q, want %q", warned, test.want)
			}
		})
	}
}

// If a port is in use, the server ends before it serves anything.
func TestTakenPort(t *testing.T) {
	o := start(t, nil)
	second := o
	second.Ready = nil
	err := Run(context.Background(), second)
	if err == nil || !strings.Contains(err.Error(), "listening for HTTP on 127.0.0.1:") {
		t.Error(err)
	}
}

// The lab's DHCP server answers every kind of client according to the plan, and does
// not answer unknown machines.
func TestExchange(t *testing.T) {
	n := nettest.New(t)
	p := n.Run([]string{helperEnv + "=" + lab(t)}, os.Args[0])
	p.WaitFor("ready")
	n.Matrix(t, labPlan(t))
}
