package check_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/check"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/kea"
	"hookbuild/netboot/windows"
	"hookbuild/test/nettest"
	"hookbuild/test/testneed"
)

// write renders the plan into a file and returns its name. Spoil may change its
// text.
func write(t *testing.T, s netboot.Server, p *netboot.Plan, spoil func(string) string) string {
	t.Helper()
	files, err := s.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	// A server's checker looks for its own directories.
	text := strings.ReplaceAll(string(files[0].Content), "/run/kea/", t.TempDir()+"/")
	name := filepath.Join(t.TempDir(), files[0].Name)
	if err := os.WriteFile(name, []byte(spoil(text)), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func same(s string) string { return s }

func run(t *testing.T, s netboot.Server, p *netboot.Plan, name string) check.Result {
	t.Helper()
	r, err := check.Run(t.Context(), check.Request{Server: s, Plan: p, File: name, Open: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func servers() map[string]netboot.Server {
	return map[string]netboot.Server{"dnsmasq": dnsmasq.Server{}, "kea-dhcp4": kea.Server{}, "dhcpd": dhcpd.Server{}}
}

// The servers' own checkers accept generated files and refuse broken ones.
func TestServersOwnCheckers(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{ScriptURL: "http://192.0.2.9:7171/ipxe/script/${mac}/auto.ipxe"})
	for program, s := range servers() {
		t.Run(program, func(t *testing.T) {
			testneed.Tool(t, program)
			good := run(t, s, p, write(t, s, p, same))
			if !good.Checked || len(good.Findings) > 0 {
				t.Errorf("checked %t (%s): %v", good.Checked, good.Why, good.Findings)
			}
			broken := run(t, s, p, write(t, s, p, func(text string) string {
				return strings.NewReplacer("dhcp-host=", "dhcp-hots=", `"subnet4"`, `"subnet5"`, "fixed-address", "fixed-adress").Replace(text)
			}))
			if !slices.ContainsFunc(broken.Findings, func(f netboot.Finding) bool {
				return strings.Contains(f.Text, "refuses the file") && (strings.Contains(f.Text, "line ") || strings.Contains(f.Text, "subnet5"))
			}) {
				t.Errorf("a broken file passes: %v", broken.Findings)
			}
		})
	}
}

// The checks find each change, one at a time, and describe the problem.
func TestSpoiltFiles(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{})
	for what, spoil := range map[string]struct {
		old, new [3]string // for dnsmasq, kea, dhcpd
		want     string
	}{
		"architecture": {
			[3]string{"option:client-arch,11", "0x000b", "00:0b"}, [3]string{"option:client-arch,12", "0x000c", "00:0c"},
			`UEFI arm64 firmware (architecture 11) gets no boot file`,
		},
		"user class": {[3]string{"user-class,Tinkerbell", "'Tinkerbell'", `"Tinkerbell"`}, [3]string{"user-class,tinkerbell", "'tinkerbell'", `"tinkerbell"`}, `iPXE would load itself forever`},
		"gateway":    {[3]string{"router,192.0.2.254", `"192.0.2.254"`, "routers 192.0.2.254"}, [3]string{"router,192.0.2.253", `"192.0.2.253"`, "routers 192.0.2.253"}, "eksa-wk02: gets the gateway 192.0.2.253, but hardware.csv has 192.0.2.254"},
		"MAC":        {[3]string{"00:00:5e:00:53:22", "00:00:5e:00:53:22", "00:00:5e:00:53:22"}, [3]string{"00:00:5e:00:53:2f", "00:00:5e:00:53:2f", "00:00:5e:00:53:2f"}, "eksa-wk02: no answer at all"},
		"next server": {
			[3]string{"ipxe.efi,192.0.2.9,192.0.2.9", `"next-server": "192.0.2.9"`, "next-server 192.0.2.9"},
			[3]string{"ipxe.efi,192.0.2.9,192.0.2.8", `"next-server": "192.0.2.8"`, "next-server 192.0.2.8"}, "is told to load from 192.0.2.8, not from 192.0.2.9",
		},
		"option 60": {[3]string{"HTTPClient", `"HTTPClient"`, `"HTTPClient"`}, [3]string{"HTTP", `"HTTP"`, `"HTTP"`}, `accepts only an answer with "HTTPClient" in option 60`},
	} {
		for i, s := range []netboot.Server{dnsmasq.Server{}, kea.Server{}, dhcpd.Server{}} {
			name := write(t, s, p, func(text string) string {
				if !strings.Contains(text, spoil.old[i]) {
					t.Fatalf("%s: %q is not there to spoil", s.Name(), spoil.old[i])
				}
				return strings.ReplaceAll(text, spoil.old[i], spoil.new[i])
			})
			if got := nettest.Lint(s, p, name, false); !strings.Contains(got, spoil.want) {
				t.Errorf("%s, %s: %q is not in:\n%s", what, s.Name(), spoil.want, got)
			}
		}
	}
}

// A machine is only in the CSV file, or only in the configuration.
func TestAnotherPlan(t *testing.T) {
	all := nettest.Plan(t, netboot.Options{})
	few := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	for _, s := range servers() {
		name := write(t, s, few, same)
		if got := nettest.Lint(s, all, name, false); !strings.Contains(got, "eksa-cp02, eksa-wk02, eksa-edge01 and 1 more: no answer at all") || !strings.Contains(got, "VLAN 120") {
			t.Errorf("%s: %s", s.Name(), got)
		}
	}
}

func TestWithoutChecker(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	r, err := check.Run(t.Context(), check.Request{Server: windows.Server{}, Plan: p, File: "x", Open: func(string) ([]byte, error) { return nil, errors.New("gone") }})
	if err != nil || r.Checked || !r.Unread || r.Count(netboot.Wrong) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// A file of another server, or of no server, has one finding, which says so.
func TestForeignFiles(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	files := map[string]string{
		"dnsmasq": "port=0\ndhcp-range=192.0.2.0,static\n", "kea": `{ "Dhcp4": { "subnet4": [] } }`, "dhcpd": "subnet 192.0.2.0 netmask 255.255.255.0 { }\n",
		"windows": "<DHCPServer></DHCPServer>", "csv": nettest.OneSubnetCSV, "yaml": "apiVersion: v1\nkind: List\nitems: {}\n---\nkind: List\n",
		"text": "hello\nworld and others\n",
	}
	for kind, text := range files {
		for _, s := range []netboot.Server{dnsmasq.Server{}, kea.Server{}, dhcpd.Server{}, windows.Server{}} {
			open := func(string) ([]byte, error) { return []byte(text), nil }
			r, err := check.Run(t.Context(), check.Request{Server: s, Plan: p, File: "absent", Open: open})
			if err != nil {
				t.Fatal(err)
			}
			foreign := r.Unread && len(r.Findings) == 1 && strings.Contains(r.Findings[0].Text, "not a configuration of "+s.Name())
			if foreign != (kind != s.Name()) {
				t.Errorf("a file of %s as one of %s: %+v", kind, s.Name(), r.Findings)
			}
		}
	}
}

// Only problems of firmware that counts are wrong.
func TestFirmwareThatCounts(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	name := write(t, dhcpd.Server{}, p, func(text string) string { return strings.ReplaceAll(text, "00:0b", "00:0c") })
	for firmware, want := range map[string]int{"": 0, "uefi-x86_64": 0, "uefi-arm64": 1, "bios": 0} {
		scope := check.Scope{}
		if firmware != "" {
			scope.Firmware = []string{firmware}
		}
		r, err := check.Run(t.Context(), check.Request{Server: dhcpd.Server{}, Plan: p, File: name, Open: os.ReadFile, Scope: scope})
		if err != nil || r.Count(netboot.Wrong) != want || r.Count(netboot.Remark) != 1-want {
			t.Errorf("firmware %q: %v %v", firmware, r.Findings, err)
		}
	}
}

// What cannot be evaluated is not known, rather than wrong.
func TestUnevaluated(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	name := write(t, dhcpd.Server{}, p, func(text string) string {
		return strings.Replace(text, "exists user-class", "pick-first-value(option user-class, \"x\") = \"y\"", 1)
	})
	r, err := check.Run(t.Context(), check.Request{Server: dhcpd.Server{}, Plan: p, File: name, Open: os.ReadFile})
	if err != nil || r.Count(netboot.Wrong) != 0 || r.Count(netboot.Unknown) == 0 {
		t.Errorf("%v %v", r.Findings, err)
	}
}

// A checker that stops at the interfaces of this machine causes a remark that
// quotes it.
func TestCheckerOnAnotherMachine(t *testing.T) {
	testneed.Tool(t, "kea-dhcp4")
	p := nettest.PlanOf(t, netboot.Options{Interface: "ens37"}, nettest.OneSubnetCSV)
	r := run(t, kea.Server{}, p, write(t, kea.Server{}, p, same))
	if r.Count(netboot.Wrong) != 0 || !slices.ContainsFunc(r.Findings, func(f netboot.Finding) bool {
		return f.Level == netboot.Remark && strings.Contains(f.Text, "interface 'ens37' doesn't exist")
	}) {
		t.Errorf("%v", r.Findings)
	}
}
