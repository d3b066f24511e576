package check_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/netboot"
	"hookbuild/netboot/check"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/kea"
	"hookbuild/test/nettest"
)

// siteCSV are the machines of the generated configurations.
const siteCSV = `hostname,mac,ip_address,netmask,gateway,nameservers,labels,disk
cp-1,02:00:00:00:00:01,192.0.2.11,255.255.255.0,192.0.2.1,192.0.2.53,type=cp,/dev/sda
wk-1,02:00:00:00:00:02,192.0.2.12,255.255.255.0,192.0.2.1,192.0.2.53,type=worker,/dev/sda
`

// sample is a configuration to compare between the model and the server.
type sample struct {
	name, text string
	proxy      bool
}

// Generated configurations for each server, by the grammars beside this file.
const generated = 60

// mostUnsure limits the answers that a model may leave open, in percent.
const mostUnsure = 15

// TestVerdictsAreTheServers compares the findings for the model with those for the
// real server, for generated and hand-written configurations. They must be the
// same for each kind of client.
func TestVerdictsAreTheServers(t *testing.T) {
	for _, tt := range []struct {
		server  netboot.Server
		grammar func(*rand.Rand) sample
	}{{dnsmasq.Server{}, dnsmasqSample}, {kea.Server{}, keaSample}, {dhcpd.Server{}, dhcpdSample}} {
		t.Run(tt.server.Name(), func(t *testing.T) {
			d := &differ{server: tt.server, net: nettest.New(t), plan: nettest.PlanOf(t, netboot.Options{}, siteCSV)}
			for i := range uint64(generated) {
				s := tt.grammar(rand.New(rand.NewPCG(i, 1)))
				s.name = fmt.Sprintf("generated %d", i)
				d.compare(t, s)
			}
			for _, s := range written(t, tt.server.Name()) {
				d.compare(t, s)
			}
			if d.asked == 0 || d.unsure*100 > d.asked*mostUnsure {
				t.Errorf("%d of %d answers are left open", d.unsure, d.asked)
			}
			t.Logf("%d answers compared, %d left open", d.asked, d.unsure)
		})
	}
}

// written returns the configurations in testdata/sites.
func written(t *testing.T, server string) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/sites/" + server + ".*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var list []sample
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sample{name, string(text), strings.Contains(name, "proxy")})
	}
	return list
}

type differ struct {
	server        netboot.Server
	net           *nettest.Net
	plan          *netboot.Plan
	asked, unsure int
}

// compare runs the server with the sample and sends it all requests of the checks.
func (d *differ) compare(t *testing.T, s sample) {
	t.Helper()
	open := func(string) ([]byte, error) { return []byte(s.text), nil }
	model, findings := d.server.Parse(open, "file")
	if model == nil {
		t.Errorf("%s: it was not read: %v\n%s", s.name, findings, s.text)
		return
	}
	scope := check.Scope{Proxy: s.proxy}
	seen := &recorder{}
	check.Compare(d.plan, seen, scope)
	process := d.net.StartDHCP(d.net.Server, d.server.Name(), []byte(onTheWire(d.server.Name(), s.text)))
	live := d.net.AskAll(t, seen.requests, func(q netboot.Request) bool {
		r, ok := model.Answer(q)
		return ok && r.Unsure == ""
	})
	process.Stop()
	both := &settled{model: model, live: live, plan: d.plan}
	want, got := verdicts(d.plan, both, scope), verdicts(d.plan, model, scope)
	d.asked, d.unsure = d.asked+len(seen.requests), d.unsure+both.unsure
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: (-server +model)\n%s\n%s\n%s", s.name, diff, s.text, strings.Join(both.details[:min(len(both.details), 3)], "\n"))
	}
}

// onTheWire replaces the interfaces of a site with the test's, and keeps a server
// from probing for seconds whether an address is free.
func onTheWire(server, text string) string {
	switch server {
	case "dnsmasq":
		text += "no-ping\n"
	case "dhcpd":
		text = "ping-check false;\n" + text
	}
	return strings.NewReplacer("interface=eth0", "interface="+nettest.ServerDev, `"ens37"`, `"*"`).Replace(text)
}

func verdicts(p *netboot.Plan, c netboot.Config, s check.Scope) []string {
	var list []string
	for _, f := range check.Compare(p, c, s) {
		list = append(list, f.Level.String()+": "+f.String())
	}
	slices.Sort(list)
	return list
}

// recorder records the requests.
type recorder struct{ requests []netboot.Request }

func (r *recorder) Answer(q netboot.Request) (netboot.Reply, bool) {
	r.requests = append(r.requests, q)
	return netboot.Reply{}, false
}

// settled answers as the server, or as the model where the model is unsure.
type settled struct {
	model, live netboot.Config
	plan        *netboot.Plan
	unsure      int
	details     []string
}

func (s *settled) Answer(q netboot.Request) (netboot.Reply, bool) {
	said, answers := s.model.Answer(q)
	if said.Unsure != "" {
		s.unsure++
		return said, answers
	}
	r, ok := s.live.Answer(q)
	r = s.own(r)
	if a, b := fmt.Sprintf("%t %+v", ok, r), fmt.Sprintf("%t %+v", answers, said); a != b {
		s.details = append(s.details, fmt.Sprintf("%s %v %q: server %s\n\tmodel %s", q.MAC, q.Archs, q.UserClass, a, b))
	}
	return r, ok
}

// own clears what a server adds by itself, and an address from a pool.
func (s *settled) own(r netboot.Reply) netboot.Reply {
	self := func(text string) bool { return text == nettest.ServerIP }
	if len(r.Routers) == 1 && self(r.Routers[0].String()) {
		r.Routers = nil
	}
	if len(r.Nameservers) == 1 && self(r.Nameservers[0].String()) {
		r.Nameservers = nil
	}
	if self(r.NextServer.String()) {
		r.NextServer = netboot.Reply{}.NextServer
	}
	if self(r.ServerName) {
		r.ServerName = ""
	}
	reserved := false
	for m := range s.plan.Machines {
		reserved = reserved || m.IP == r.IP
	}
	if !reserved && r.IP.IsValid() && r.IP.As4()[3] >= 100 {
		r.IP = netboot.Reply{}.IP
	}
	return r
}

// pick returns one of the choices at random.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// maybe returns text in about one of n cases, and otherwise "".
func maybe(r *rand.Rand, n int, text string) string {
	if r.IntN(n) == 0 {
		return text
	}
	return ""
}

const (
	scriptURL = "http://192.0.2.9:7171/ipxe/script/auto.ipxe"
	programs  = "http://192.0.2.9:7171/ipxe/binary/"
)
