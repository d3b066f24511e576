package dhcpd

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Parse implements [netboot.Server].
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	p := &parser{open: open, file: name, names: map[string]int{}}
	p.load(name)
	root := &scope{}
	p.block(root, true)
	c := &p.config
	c.root = root
	if len(c.subnets) == 0 {
		p.find(token{file: name}, len(c.hosts) > 0, "there is no subnet: a server of its own does not start", "declare the machines' subnets")
		c.assumed = true
	}
	return c, p.findings
}

const (
	deepest = 64      // blocks in one another
	most    = 8       // files that include one another
	longest = 4 << 20 // tokens of all files
)

type parser struct {
	open     netboot.Opener
	tokens   []token
	config   config
	findings []netboot.Finding
	file     string
	depth    int
	included int
	// names are the options that the file declares.
	names map[string]int
}

func (p *parser) find(at token, doubtful bool, text, remedy string) {
	p.findings = append(p.findings, netboot.Finding{File: at.file, Line: at.line, Doubtful: doubtful, Text: text, Remedy: remedy})
}

// load puts a file's tokens before those that are left.
func (p *parser) load(name string) {
	text, err := p.open(name)
	if err != nil {
		p.find(token{file: p.file}, false, fmt.Sprintf("reading %q: %v", name, err), "")
		return
	}
	tokens := lex(name, string(text))
	if len(tokens)+len(p.tokens) > longest {
		p.find(token{file: name}, false, "the configuration is too long to be checked", "")
		return
	}
	p.tokens = slices.Concat(tokens, p.tokens)
}

// statement takes the words up to a ; or {, and says which it was; end is 0 at
// the end of the text and '}' at that of a block.
func (p *parser) statement() (words []token, end byte) {
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		p.tokens = p.tokens[1:]
		if !t.quoted && (t.text == ";" || t.text == "{" || t.text == "}") {
			return words, t.text[0]
		}
		words = append(words, t)
	}
	return words, 0
}

// block reads statements into s up to its end.
func (p *parser) block(s *scope, top bool) {
	if p.depth++; p.depth > deepest {
		p.find(token{file: p.file}, false, "the blocks are nested too deep to be checked", "")
		p.tokens = nil
	}
	defer func() { p.depth-- }()
	for {
		words, end := p.statement()
		switch {
		case end == 0 && len(words) == 0:
			if !top {
				p.find(token{file: p.file}, false, "a } is missing at the end", "")
			}
			return
		case end == 0:
			p.find(words[0], false, "the statement has no end: a ; is missing", "")
			return
		case end == '}':
			if len(words) > 0 {
				p.find(words[0], false, "a ; is missing before the }", "")
			}
			if !top {
				return
			}
			p.find(token{file: p.file}, false, "a } is too many", "")
		case len(words) == 0 && end == '{':
			p.block(&scope{}, false)
		case end == '{':
			p.nested(s, words)
		case len(words) > 0:
			p.simple(s, words)
		}
	}
}

// nested reads a statement with a block.
func (p *parser) nested(s *scope, words []token) {
	switch words[0].text {
	case "if":
		p.conditional(s, words[1:])
	case "elsif", "else":
		p.find(words[0], false, words[0].text+" has no if before it", "")
		p.block(&scope{}, false)
	case "subnet":
		p.subnet(s, words)
	case "host":
		p.host(s, words)
	case "group", "shared-network", "pool", "failover", "zone", "key", "class", "subclass":
		inner := &scope{parent: s}
		if words[0].text == "pool" {
			s.pool = true
		}
		if words[0].text == "class" || words[0].text == "subclass" {
			p.find(words[0], true, words[0].text+" is not understood here: what it does to the machines is not checked", "")
		}
		p.block(inner, false)
		s.pool = s.pool || inner.pool
	default:
		p.find(words[0], true, words[0].text+" { is not understood here and not checked", "")
		p.block(&scope{}, false)
	}
}

// conditional reads if, elsif and else with their blocks.
func (p *parser) conditional(s *scope, condition []token) {
	c := &conditional{}
	for {
		b := branch{inner: &scope{}}
		if condition != nil {
			test, err := parseCondition(condition, p.names)
			if err != nil {
				at := token{file: p.file}
				if len(condition) > 0 {
					at = condition[0]
				}
				p.find(at, true, "the condition is not checked: "+err.Error(), "")
			}
			b.test = test
			b.unknown = err != nil
		}
		p.block(b.inner, false)
		c.branches = append(c.branches, b)
		if condition == nil || len(p.tokens) == 0 {
			break
		}
		next := p.tokens[0].text
		if next != "elsif" && next != "else" {
			break
		}
		words, end := p.statement()
		if end != '{' {
			p.find(words[0], false, "a { is missing after "+next, "")
			break
		}
		condition = nil
		if next == "elsif" {
			condition = words[1:]
		} else if len(words) > 1 && words[1].text == "if" {
			condition = words[2:]
		}
	}
	s.statements = append(s.statements, statement{conditional: c})
}

func (p *parser) subnet(s *scope, words []token) {
	inner := &scope{parent: s}
	n := subnet{scope: inner}
	if len(words) == 4 && words[2].text == "netmask" {
		ip, err1 := netip.ParseAddr(words[1].text)
		mask, err2 := netip.ParseAddr(words[3].text)
		if err1 == nil && err2 == nil && ip.Is4() && mask.Is4() {
			n.network = netip.PrefixFrom(ip, ones(mask)).Masked()
		}
	}
	if !n.network.IsValid() {
		p.find(words[0], false, "the subnet is not of the form subnet ADDRESS netmask MASK", "")
	}
	p.block(inner, false)
	p.config.subnets = append(p.config.subnets, n)
}

// ones counts the leading ones of a netmask.
func ones(mask netip.Addr) int {
	n := 0
	for _, b := range mask.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			n++
		}
	}
	return n
}

func (p *parser) host(s *scope, words []token) {
	inner := &scope{parent: s}
	p.block(inner, false)
	p.config.hosts = append(p.config.hosts, host{scope: inner})
	h := &p.config.hosts[len(p.config.hosts)-1]
	for _, st := range inner.statements {
		switch st.name {
		case "hardware":
			mac, ok := hardware.ParseMAC(st.last())
			if !ok {
				p.find(words[0], false, "the host's hardware address "+st.last()+" is not a MAC address of six bytes", "")
			}
			h.mac = mac
		case "fixed-address":
			for _, v := range st.values {
				if ip, err := netip.ParseAddr(v.text); err == nil {
					h.ips = append(h.ips, ip)
				}
			}
		}
	}
}

// simple reads a statement that ends with a semicolon.
func (p *parser) simple(s *scope, words []token) {
	name, values := words[0].text, words[1:]
	switch name {
	case "include":
		if len(values) == 1 {
			if p.included++; p.included > most {
				p.find(words[0], false, "more files are included than are checked", "")
				return
			}
			p.load(values[0].text)
		}
		return
	case "option":
		p.option(s, words)
		return
	case "range":
		s.pool = true
	case "next-server":
		if len(values) != 1 || values[0].quoted {
			p.find(words[0], false, `next-server takes an address without quotes`, "write next-server 192.0.2.9;")
		}
	case "filename", "server-name":
		if len(values) != 1 || !values[0].quoted {
			p.find(words[0], false, name+" takes a string in double quotes", "")
		}
	case "deny", "ignore":
		if len(values) > 0 && (values[0].text == "booting" || values[0].text == "bootp" || values[0].text == "unknown-clients") && name != "" {
			if values[0].text == "booting" {
				p.find(words[0], false, name+" booting keeps the machines from booting", "remove it")
			}
		}
	}
	s.statements = append(s.statements, statement{name: name, values: values})
}

// option reads a value, or the declaration of an option.
func (p *parser) option(s *scope, words []token) {
	if len(words) < 3 {
		p.find(words[0], false, "the option has no value", "")
		return
	}
	if words[2].text == "code" && len(words) > 3 {
		if code, err := strconv.Atoi(words[3].text); err == nil {
			p.names[words[1].text] = code
		}
		return
	}
	code := codeOf(words[1].text, p.names)
	s.statements = append(s.statements, statement{name: "option", code: code, values: words[2:]})
}

// codeOf is the number of an option, 0 for one that does not matter here.
func codeOf(name string, declared map[string]int) int {
	if code, ok := declared[name]; ok {
		return code
	}
	return map[string]int{
		"subnet-mask": 1, "routers": 3, "domain-name-servers": 6, "host-name": 12, "domain-name": 15,
		"vendor-encapsulated-options": 43, "vendor-class-identifier": 60, "dhcp-client-identifier": 61, "tftp-server-name": 66,
		"bootfile-name": 67, "user-class": 77, "pxe-system-type": 93, "pxe-interface-id": 94, "pxe-client-id": 97,
	}[strings.TrimPrefix(name, "dhcp.")]
}
