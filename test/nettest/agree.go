package nettest

import (
	"slices"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// agreeAll asks a running server and the model of its configuration the same, as
// machines and as a stranger, and reports where they differ. So the checks are
// proven against the server itself.
func (n *Net) agreeAll(t *testing.T, p *netboot.Plan, model netboot.Config) {
	t.Helper()
	subnet := p.Subnets[0]
	stranger := hardware.Machine{MAC: Stranger(), Network: subnet.Network}
	for i, m := range append(slices.Clone(subnet.Machines), stranger) {
		for _, c := range variants(p, m, i == 0) {
			if c.Short {
				continue
			}
			n.agree(t, model, c)
		}
	}
}

func (n *Net) agree(t *testing.T, model netboot.Config, c Client) {
	t.Helper()
	want, answers := model.Answer(c.Request)
	got, ok := n.ask(c)
	if ok != answers {
		t.Errorf("%s architecture %v user class %q: the model answers: %t, the server: %t", c.MAC, c.Archs, c.UserClass, answers, ok)
		return
	}
	if !ok {
		return
	}
	// What the model does not know, the server chooses by itself.
	if !want.IP.IsValid() {
		want.IP = got.IP
	}
	if len(want.Routers) == 0 {
		want.Routers = got.Routers
	}
	if len(want.Nameservers) == 0 {
		want.Nameservers = got.Nameservers
	}
	if !want.NextServer.IsValid() {
		want.NextServer = got.NextServer
	}
	if want.Hostname == "" {
		want.Hostname = got.Hostname
	}
	if want.Domain == "" {
		want.Domain = got.Domain
	}
	if !sameReply(want, got) {
		t.Errorf("%s architecture %v user class %q:\nmodel  %s\nserver %s", c.MAC, c.Archs, c.UserClass, format(want), format(got))
	}
}
