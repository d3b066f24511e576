package profile

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	// hostName is a DNS name or an IPv4 address.
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$`)
	// exempt is what NO_PROXY may list: names, domains, addresses, networks.
	exempt = regexp.MustCompile(`^[A-Za-z0-9.:*/_\[\]-]+$`)
	// cryptHash is a hash in the form of crypt(3) that Alpine's login checks.
	cryptHash = regexp.MustCompile(`^\$(1|5|6)\$[A-Za-z0-9./=$]+\$[A-Za-z0-9./]+$`)
	// harmless is what a URL may have in a shell's single quotes.
	harmless = regexp.MustCompile(`^[A-Za-z0-9:/?#\[\]@!$&()*+,;=._~%-]+$`)
)

func checkHostPort(text string) error {
	host := text
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		host = text[:at]
		if n, err := strconv.Atoi(text[at+1:]); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is not HOST or HOST:PORT", text)
		}
	}
	if !hostName.MatchString(host) {
		return fmt.Errorf("%q is not HOST or HOST:PORT; leave out the scheme and the path", text)
	}
	return nil
}

func checkURL(key, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s: it is not a URL such as https://host.example:8080", key) // it may hold a password
	case !harmless.MatchString(text):
		return fmt.Errorf("%s: the URL has a character that is not allowed in one; write it as %%XX", key)
	}
	return nil
}

func (s *Site) checkMirrors(Inputs) (problems []error) {
	for i, m := range s.Mirrors {
		key := fmt.Sprintf("docker-hub-mirrors[%d]", i)
		if err := checkURL(key, m); err != nil {
			problems = append(problems, err)
			continue
		}
		u, err := url.Parse(m)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		switch {
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
			problems = append(problems, fmt.Errorf("%s: dockerd takes a mirror as https://HOST or https://HOST:PORT, without user, path or query", key))
		case slices.Contains(s.Mirrors[:i], m):
			problems = append(problems, fmt.Errorf("%s: %s is listed twice", key, m))
		}
	}
	return problems
}

func (s *Site) checkProxy(Inputs) (problems []error) {
	p := s.Proxy
	for _, given := range []struct{ key, url string }{{"proxy.http", p.HTTP}, {"proxy.https", p.HTTPS}} {
		if given.url == "" {
			continue
		}
		if err := checkURL(given.key, given.url); err != nil {
			problems = append(problems, err)
		}
	}
	if p.HTTP == "" && p.HTTPS == "" && len(p.None) > 0 {
		problems = append(problems, errors.New("proxy.none: there is no proxy to make an exception from; give proxy.https or proxy.http"))
	}
	for i, name := range p.None {
		if !exempt.MatchString(name) {
			problems = append(problems, fmt.Errorf("proxy.none[%d]: %q is not a host, domain, address or network", i, name))
		}
	}
	return problems
}

// checkNames checks time servers, name servers and domains.
func (s *Site) checkNames(Inputs) (problems []error) {
	for i, server := range s.NTP {
		key := fmt.Sprintf("ntp[%d]", i)
		if !hostName.MatchString(server) {
			problems = append(problems, fmt.Errorf("%s: %q is not the name or address of a server", key, server))
		}
		if slices.Contains(s.NTP[:i], server) {
			problems = append(problems, fmt.Errorf("%s: %s is listed twice", key, server))
		}
	}
	for i, server := range s.DNS.Servers {
		key := fmt.Sprintf("dns.servers[%d]", i)
		if _, err := netip.ParseAddr(server); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q is not an address", key, server))
		}
		if slices.Contains(s.DNS.Servers[:i], server) {
			problems = append(problems, fmt.Errorf("%s: %s is listed twice", key, server))
		}
	}
	for i, domain := range s.DNS.Search {
		if !hostName.MatchString(domain) {
			problems = append(problems, fmt.Errorf("dns.search[%d]: %q is not a domain", i, domain))
		}
	}
	if len(s.DNS.Search) > 0 && len(s.DNS.Servers) == 0 {
		problems = append(problems, errors.New("dns.search: it needs dns.servers"))
	}
	return problems
}

func checkVLAN(key string, id int) error {
	if id < 0 || id > 4094 {
		return fmt.Errorf("%s: %d is not a VLAN from 1 to 4094", key, id)
	}
	return nil
}

func (s *Site) checkNetwork(Inputs) (problems []error) {
	if err := checkVLAN("network.vlan", s.Network.VLAN); err != nil {
		problems = append(problems, err)
	}
	s.Network.Machines = slices.Clone(s.Network.Machines)
	for i := range s.Network.Machines {
		m := &s.Network.Machines[i]
		key := fmt.Sprintf("network.machines[%d]", i)
		if err := m.check(key); err != nil {
			problems = append(problems, err)
			continue
		}
		for _, o := range s.Network.Machines[:i] {
			switch {
			case o.MAC == m.MAC:
				problems = append(problems, fmt.Errorf("%s.mac: %s is listed twice", key, m.MAC))
			case m.Address != "" && addressOf(o.Address) == addressOf(m.Address):
				problems = append(problems, fmt.Errorf("%s.address: %s is %s's too", key, m.Address, o.MAC))
			}
		}
	}
	return problems
}

func addressOf(prefix string) string {
	address, _, _ := strings.Cut(prefix, "/")
	return address
}

// check checks a machine and writes its card's address as Linux does.
func (m *Machine) check(key string) error {
	mac, err := net.ParseMAC(m.MAC)
	if err != nil || len(mac) != 6 {
		return fmt.Errorf("%s.mac: %q is not the address of a network card, such as 52:54:00:12:34:56", key, m.MAC)
	}
	m.MAC = mac.String()
	if err := checkVLAN(key+".vlan", m.VLAN); err != nil {
		return err
	}
	if m.Address == "" {
		if m.Gateway != "" {
			return fmt.Errorf("%s.gateway: a gateway needs an address", key)
		}
		if m.VLAN == 0 {
			return fmt.Errorf("%s: nothing is set for %s; give address or vlan", key, m.MAC)
		}
		return nil
	}
	prefix, err := netip.ParsePrefix(m.Address)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() == 0 {
		return fmt.Errorf("%s.address: %q is not an IPv4 address with the length of its network, such as 192.0.2.10/24", key, m.Address)
	}
	if prefix.Bits() < 31 && (prefix.Addr() == prefix.Masked().Addr() || prefix.Addr() == lastAddress(prefix)) {
		return fmt.Errorf("%s.address: %s is the first or last address of its network, which no machine can have", key, m.Address)
	}
	if m.Gateway == "" {
		return nil
	}
	gateway, err := netip.ParseAddr(m.Gateway)
	if err != nil || !prefix.Contains(gateway) || gateway == prefix.Addr() {
		return fmt.Errorf("%s.gateway: %q is not another address in the network of %s", key, m.Gateway, m.Address)
	}
	return nil
}

func lastAddress(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | 1<<(32-p.Bits()) - 1
	binary.BigEndian.PutUint32(a[:], n)
	return netip.AddrFrom4(a)
}

// sshKey is a line of authorized_keys.
type sshKey struct{ line, kind, comment string }

func (s *Site) loadKeys(in Inputs) (problems []error) {
	for i, line := range s.SSH.AuthorizedKeys {
		if err := s.addKey(fmt.Sprintf("ssh.authorized-keys[%d]", i), strings.TrimSpace(line)); err != nil {
			problems = append(problems, err)
		}
	}
	for i, file := range s.SSH.KeyFiles {
		key := fmt.Sprintf("ssh.key-files[%d]", i)
		content, err := s.read(in, key, file)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		problems = append(problems, s.addKeyFile(key, file, string(content))...)
	}
	return problems
}

// addKeyFile adds the keys of a file. A file without any is of another kind, and has one
// problem, with the first line that is not a key.
func (s *Site) addKeyFile(key, file, content string) (problems []error) {
	before, number := len(s.keys), 0
	for line := range strings.Lines(content) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.addKey(fmt.Sprintf("%s (\"%s:%d\")", key, file, number), line); err != nil {
			problems = append(problems, err)
		}
	}
	switch {
	case len(s.keys) > before:
	case len(problems) == 0:
		problems = append(problems, fmt.Errorf("%s: %q has no key", key, file))
	default:
		problems = problems[:1]
	}
	return problems
}

func (s *Site) addKey(key, line string) error {
	k, err := parseKey(line)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	body := strings.Fields(k.line)
	for _, o := range s.keys {
		if slices.Contains(strings.Fields(o.line), blobOf(body, k.kind)) {
			return fmt.Errorf("%s: the key %s is listed twice", key, strings.TrimSpace(k.kind+" "+k.comment))
		}
	}
	s.keys = append(s.keys, k)
	return nil
}

func blobOf(fields []string, kind string) string {
	return fields[slices.Index(fields, kind)+1]
}

var keyKinds = []string{
	"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// parseKey reads a line of authorized_keys: options, if any, kind, key, comment.
// It shows nothing of what is not a public key.
func parseKey(line string) (sshKey, error) {
	if strings.Contains(line, "PRIVATE KEY") {
		return sshKey{}, errors.New("this is a private key, which must not leave its machine; give the public one (.pub)")
	}
	if label, ok := strings.CutPrefix(line, "-----BEGIN "); ok {
		label, _, _ = strings.Cut(label, "-----")
		return sshKey{}, fmt.Errorf("this is the %s of a PEM file, not a public key, such as ssh-ed25519 AAAA... name", strings.ToLower(label))
	}
	if strings.ContainsAny(line, "\r\n\x00") {
		return sshKey{}, errors.New("a key is one line")
	}
	fields := strings.Fields(line)
	at := slices.IndexFunc(fields, func(f string) bool { return slices.Contains(keyKinds, f) })
	if at < 0 || at+1 == len(fields) {
		return sshKey{}, errors.New("this is not a public key, such as ssh-ed25519 AAAA... name")
	}
	kind := fields[at]
	blob, err := base64.StdEncoding.DecodeString(fields[at+1])
	if err != nil || len(blob) < 4+len(kind)+4 || binary.BigEndian.Uint32(blob) != uint32(len(kind)) || string(blob[4:4+len(kind)]) != kind {
		return sshKey{}, fmt.Errorf("this is not a public key: what follows %s is not a key of that kind; copy the whole line of the .pub file", kind)
	}
	return sshKey{line, kind, strings.Join(fields[at+2:], " ")}, nil
}
