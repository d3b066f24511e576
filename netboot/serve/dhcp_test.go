package serve

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzDHCP checks that no packet causes a panic, and that only the machines of the
// plan are answered.
func FuzzDHCP(f *testing.F) {
	plan := labPlan(f)
	d := &dhcpService{server: &server{Options: Options{Plan: plan}}}
	for m := range plan.Machines {
		for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform, dhcpv4.MessageTypeDecline} {
			packet, err := dhcpv4.New(dhcpv4.WithHwAddr(m.MAC[:]), dhcpv4.WithMessageType(kind),
				dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7}), dhcpv4.WithGeneric(dhcpv4.OptionUserClassInformation, []byte("Tinkerbell")))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet.ToBytes())
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := dhcpv4.FromBytes(raw)
		if err != nil {
			return
		}
		answer, err := d.answer(m)
		if answer == nil || err != nil {
			return
		}
		if _, known := d.Plan.Machine(request(m).MAC); !known {
			t.Errorf("a stranger is answered: %s", answer.Summary())
		}
		if _, err := dhcpv4.FromBytes(answer.ToBytes()); err != nil {
			t.Errorf("the answer cannot be read: %v", err)
		}
	})
}
