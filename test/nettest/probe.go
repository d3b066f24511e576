package nettest

import (
	"fmt"

	"hookbuild/netboot"
	"hookbuild/netboot/check"
)

// Probe parses text as a configuration and asks it everything, for fuzzing. A
// file that it includes is the text itself.
func Probe(s netboot.Server, p *netboot.Plan, text []byte) {
	opened := 0
	open := func(string) ([]byte, error) {
		if opened++; opened > 20 {
			return nil, fmt.Errorf("no more files")
		}
		return text, nil
	}
	config, _ := s.Parse(open, "fuzz")
	if config != nil {
		check.Compare(p, config, check.Scope{})
		check.Compare(p, config, check.Scope{Proxy: true})
	}
}
