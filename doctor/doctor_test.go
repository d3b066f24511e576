package doctor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/web"
	"hookbuild/machine"
	"hookbuild/test/testneed"
)

// options returns the options of a machine whose registry and server are at
// addresses of this process.
func options(t *testing.T, registry, server string) Options {
	t.Helper()
	return Options{
		Out: t.TempDir(), Cache: filepath.Join(t.TempDir(), "not", "made"), Registries: []Registry{{Host: registry, Commands: []string{"all"}}}, Insecure: []string{registry},
		Servers: []Server{{Name: "releases", URL: server, Breaks: "images"}}, Keychain: authn.NewMultiKeychain(),
		Web:    web.New(web.Options{Limits: web.Limits{Header: time.Second, Tries: 1}}),
		Docker: func(context.Context) (*client.Client, error) { return nil, errors.New("no engine here") },
		Stdin:  strings.NewReader(""), Stdout: &strings.Builder{}, Now: time.Now, Patience: time.Second,
	}
}

func find(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if strings.HasPrefix(c.Name, name) {
			return c
		}
	}
	t.Fatalf("no check %q among %v", name, checks)
	return Check{}
}

func TestRun(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer registry.Close()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	checks := Run(t.Context(), options(t, host, server.URL))
	for name, want := range map[string]struct {
		status Status
		found  string
	}{
		"memory":              {OK, "GB"},
		"disk of --out":       {OK, "free in"},
		"disk of --cache-dir": {OK, "not/made"},
		"terminal":            {Warn, "not both a terminal"},
		"Docker":              {Warn, "no engine here"},
		"registry 127.0.0.1":  {OK, "it answers; no credentials"},
		"releases":            {OK, "it answers"},
		"clock":               {OK, "within 1s of " + server.URL},
		"cores":               {"", "core"},
		"QEMU":                {"", ""},
		"KVM":                 {"", ""},
	} {
		c := find(t, checks, name)
		if want.status != "" && c.Status != want.status || !strings.Contains(c.Found, want.found) {
			t.Errorf("%s: %+v, want %s with %q", name, c, want.status, want.found)
		}
		if c.Status == Fail && (c.Remedy == "" || c.Breaks == "") {
			t.Errorf("%s fails without a remedy or what it breaks: %+v", name, c)
		}
		if c.Status == Warn && c.Remedy == "" {
			t.Errorf("%s warns without a remedy: %+v", name, c)
		}
		if c.Status == OK && c.Remedy != "" {
			t.Errorf("%s is ok, with a remedy: %+v", name, c)
		}
	}
}

func TestUnreachable(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer broken.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	o := options(t, strings.TrimPrefix(broken.URL, "http://"), silent.URL)
	checks := Run(t.Context(), o)
	if c := find(t, checks, "registry"); c.Status != Fail || !strings.Contains(c.Found, "502") || !strings.Contains(c.Remedy, "--mirror") {
		t.Errorf("%+v", c)
	}
	if c := find(t, checks, "releases"); c.Status != Fail {
		t.Errorf("%+v", c)
	}
	if c := find(t, checks, "clock"); c.Status != Warn {
		t.Errorf("%+v", c)
	}
}

// A registry that answers may lack what a build asks for, or refuse it.
func TestWanted(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	has := Wanted{Name: "x/has:1", Ask: func(context.Context) (Size, error) { return Size{All: 1 << 40, Fetch: 1 << 40}, nil }}
	lacks := Wanted{Name: "x/lacks:1", Ask: func(context.Context) (Size, error) { return Size{}, errors.New("not found") }}
	for _, test := range []struct {
		wanted []Wanted
		status Status
		found  string
	}{
		{[]Wanted{has, has}, OK, "it has all 2 that this build asks for"},
		{[]Wanted{has, lacks}, Fail, "but x/lacks:1: not found"},
		{[]Wanted{lacks, has, lacks}, Fail, "2 of 3 that this build asks for cannot be pulled, the first being x/lacks:1: not found"},
	} {
		o := options(t, host, registry.URL)
		o.Registries[0].Wanted = test.wanted
		checks := Run(t.Context(), o)
		c := find(t, checks, "registry")
		if disk := find(t, checks, "disk of --out"); strings.Contains(disk.Found, "1 image of 1099.51 GB") != (test.status == Fail) {
			t.Errorf("with %d images, the disk is %+v", len(test.wanted), disk)
		}
		if c.Status != test.status || !strings.Contains(c.Found, test.found) || (c.Status == Fail) != (len(c.Commands) > 0 && c.Remedy != "") {
			t.Errorf("%+v, want %s with %q", c, test.status, test.found)
		}
	}
}

func TestWrongClock(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	o := options(t, "127.0.0.1:1", server.URL)
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if c := find(t, Run(t.Context(), o), "clock"); c.Status != Fail || !strings.Contains(c.Found, "off by 1h") {
		t.Errorf("%+v", c)
	}
}

func TestOffline(t *testing.T) {
	o := options(t, "127.0.0.1:1", "http://127.0.0.1:1")
	o.Offline = true
	for _, c := range Run(t.Context(), o) {
		if strings.HasPrefix(c.Name, "registry") || c.Name == "clock" || c.Name == "releases" {
			t.Errorf("asked the network: %+v", c)
		}
	}
}

// TestFileOfAServer has servers that answer, and lack the file that a build fetches or
// treat HEAD otherwise.
func TestFileOfAServer(t *testing.T) {
	for name, test := range map[string]struct {
		head, get int
		file      bool
		status    Status
		found     string
	}{
		"too many requests":  {429, 429, true, Fail, "429"},
		"a proxy's login":    {407, 407, true, Fail, "407"},
		"gone":               {410, 410, true, Fail, "410"},
		"a login":            {401, 401, true, Fail, "401"},
		"not there":          {404, 404, true, Fail, "404"},
		"not there, no file": {404, 404, false, OK, "it answers"},
		"no HEAD":            {405, 404, true, Fail, "404"},
		"no HEAD, there":     {405, 200, true, OK, "it is there"},
		"HEAD alone":         {200, 403, true, Fail, "403"},
		"no HEAD, no file":   {405, 404, false, OK, "it answers"},
	} {
		at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(map[string]int{http.MethodHead: test.head, http.MethodGet: test.get}[r.Method])
		}))
		o := options(t, "127.0.0.1:1", at.URL)
		o.Servers[0].File = test.file
		c := server(t.Context(), o, o.Servers[0], &clock{now: o.Now})
		if c.Status != test.status || !strings.Contains(c.Found, test.found) || (c.Remedy == "") != (c.Status == OK) {
			t.Errorf("%s: %+v", name, c)
		}
		if ours := slices.Contains([]int{401, 403, 404, 410}, test.get); c.Status == Fail && strings.Contains(c.Remedy, "correct the address") != ours {
			t.Errorf("%s: the remedy is %q", name, c.Remedy)
		}
		at.Close()
	}
}

// The requirements are those of Hook's recipe: 2 GB of memory and 4 cores; disks have
// tests of their own.
func TestRequirements(t *testing.T) {
	for _, test := range []struct {
		check  Check
		status Status
		found  string
	}{
		{memory(2_000_000_000, nil), OK, "2.00 GB"},
		{memory(1_900_000_000, nil), Warn, "1.90 GB, less than 2 GB"},
		{memory(0, errors.New("no /proc")), Warn, "not known: no /proc"},
		{cores(4), OK, "4 cores"},
		{cores(3), Warn, "3 cores"},
	} {
		c := test.check
		if c.Status != test.status || c.Found != test.found || test.status == Warn && c.Remedy == "" {
			t.Errorf("%+v, want %s with %q", c, test.status, test.found)
		}
	}
}

// Credentials of docker login are named, and not shown.
func TestCredentials(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer registry.Close()
	o := options(t, strings.TrimPrefix(registry.URL, "http://"), registry.URL)
	o.Keychain = login{}
	if c := find(t, Run(t.Context(), o), "registry"); c.Status != OK || c.Found != "it answers; with credentials of docker login" {
		t.Errorf("%+v", c)
	}
}

// login is a keychain that has the same login for all registries.
type login struct{}

// Resolve implements [authn.Keychain].
func (login) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "ci", Password: "secret"}, nil
}

func TestUnwritable(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may write everywhere except where there is no directory on a
		// disk.
		if c := disks(Options{Out: "/proc/sys/kernel", Cache: "/"}, total{}, "")[0]; c.Status == OK || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if c := disks(Options{Out: dir, Cache: dir}, total{}, "")[0]; c.Status != Fail || !strings.Contains(c.Found, "not writable") {
		t.Errorf("%+v", c)
	}
}

func TestDocker(t *testing.T) {
	testneed.Docker(t)
	if c, _ := docker(t.Context(), Options{Docker: dockerhost.Connect}); c.Status != OK || !strings.Contains(c.Found, "Docker ") || !strings.HasSuffix(c.Found, ", with BuildKit") {
		t.Errorf("%+v", c)
	}
}

// An engine that answers may lack BuildKit.
func TestNoBuildKit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/version") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"Version": "4.3.1", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}`) // the client may be gone
	}))
	defer server.Close()
	connect := func(context.Context) (*client.Client, error) {
		return client.NewClientWithOpts(client.WithHost(strings.Replace(server.URL, "http:", "tcp:", 1)), client.WithVersion("1.41"))
	}
	c, _ := docker(t.Context(), Options{Docker: connect, Compiles: true})
	if c.Status != Fail || !strings.Contains(c.Found, "4.3.1") || !strings.Contains(c.Found, "BuildKit session") || c.Remedy == "" || c.Breaks == "" || len(c.Commands) == 0 {
		t.Errorf("%+v", c)
	}
}

// Without QEMU, what is missing and the remedy are printed once.
func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	emulate := func() (time.Duration, error) { return machine.Try(t.Context(), "tcg", time.Second) }
	if c := qemu(emulate); c.Status != Warn || !strings.Contains(c.Found, "its program is not installed: qemu-system-x86_64") {
		t.Errorf("%+v", c)
	}
	if c := kvm(t.Context(), emulate, time.Second); c.Status != Warn || strings.Contains(c.Found, "qemu-system-x86_64") {
		t.Errorf("%+v", c)
	}
}

// An emulated machine runs the program; an accelerator that does not exist is
// an error that quotes QEMU.
func TestTry(t *testing.T) {
	testneed.Tool(t, "qemu-system-x86_64")
	if _, err := machine.Try(t.Context(), "tcg", time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := machine.Try(t.Context(), "warp", time.Minute); err == nil || !strings.Contains(err.Error(), "warp") || errors.Is(err, machine.ErrStuck) {
		t.Errorf("error %v", err)
	}
	if _, err := machine.Try(t.Context(), "tcg", time.Nanosecond); !errors.Is(err, machine.ErrStuck) {
		t.Errorf("error %v", err)
	}
}

// fakeQEMU puts a QEMU first in PATH that runs a script with the accelerator kvm.
func fakeQEMU(t *testing.T, kvm string) {
	t.Helper()
	if _, err := os.Stat("/dev/kvm"); err != nil {
		testneed.Missing(t, "/dev/kvm", err.Error())
	}
	dir := t.TempDir()
	program := "#!/bin/sh\necho \"$*\" >>" + dir + "/log\ncase \"$*\" in *'-accel kvm'*) " + kvm + ";; esac\nexit 33\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// KVM is judged by how long emulation takes; where emulation fails, it is not judged.
func TestKVM(t *testing.T) {
	for name, test := range map[string]struct {
		kvm    string
		failed error
		status Status
		found  string
		remedy string
	}{
		"slow":                   {kvm: "exec sleep 60", status: Warn, found: "emulated, the same takes", remedy: "--accel kvm"},
		"fast":                   {kvm: "exit 33", status: OK, found: "; emulated, in 0.0s"},
		"slow, not compared":     {kvm: "exec sleep 60", failed: machine.ErrStuck, status: Warn, found: "not compared", remedy: "QEMU"},
		"fast, not compared":     {kvm: "exit 33", failed: errors.New("broken"), status: Warn, found: "not compared", remedy: "QEMU"},
		"neither of them starts": {kvm: "exit 1", failed: errors.New("broken"), status: Warn, found: "exit status 1", remedy: "emulate"},
	} {
		fakeQEMU(t, test.kvm)
		emulate := func() (time.Duration, error) {
			if test.failed != nil {
				return 0, test.failed
			}
			return time.Millisecond, nil
		}
		limit := time.Minute
		if test.failed != nil {
			limit = 2 * time.Second
		}
		c := kvm(t.Context(), emulate, limit)
		if c.Status != test.status || !strings.Contains(c.Found, test.found) || !strings.Contains(c.Remedy, test.remedy) || (c.Remedy == "") != (c.Status == OK) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// The checks of QEMU and KVM share one trial of emulation.
func TestOneTrial(t *testing.T) {
	fakeQEMU(t, "exit 33")
	o := options(t, "127.0.0.1:1", "http://127.0.0.1:1")
	o.Offline, o.Patience = true, time.Minute
	Run(t.Context(), o)
	dir, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || strings.Count(string(log), "-accel tcg") != 1 || strings.Count(string(log), "-accel kvm") != 1 {
		t.Errorf("QEMU was called with:\n%s%v", log, err)
	}
}

// Images of a registry that does not answer, or that it does not have, are not counted in
// silence.
func TestSizesNotKnown(t *testing.T) {
	wanted := []Wanted{
		{"one", func(context.Context) (Size, error) { return Size{All: 5, Fetch: 5}, nil }, true},
		{"two", func(context.Context) (Size, error) { return Size{}, errors.New("not there") }, true},
		{"tags", func(context.Context) (Size, error) { return Size{}, errors.New("not there") }, false},
	}
	var asked, silent counter
	if err := askAll(t.Context(), wanted, &asked); err == nil || asked.sum.images != 1 || asked.sum.unknown != 1 {
		t.Errorf("%+v, %v", asked.sum, err)
	}
	o := Options{Out: t.TempDir(), Cache: t.TempDir(), Web: web.New(web.Options{Limits: web.Limits{Header: time.Second, Tries: 1}})}
	if c := registry(t.Context(), o, Registry{Host: "127.0.0.1:1", Wanted: wanted}, &clock{now: time.Now}, &silent); c.Status != Fail || silent.sum.unknown != 2 {
		t.Errorf("%+v, %+v", c, silent.sum)
	}
	for _, c := range disks(o, silent.sum, "") {
		if !strings.Contains(c.Found, "for a kernel and a root file system, without 2 embedded images of unknown size") {
			t.Errorf("%+v", c)
		}
	}
}
