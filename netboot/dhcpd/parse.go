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
	c := &p.config
	c.root = &scope{}
	p.block(c.root, true)
	if p.foreign != "" && p.recognised == 0 {
		return nil, []netboot.Finding{netboot.NotOf(Server{}, name, fmt.Sprintf("it has no statement of dhcpd (%q)", p.foreign))}
	}
	if len(c.subnets) == 0 {
		level := netboot.Wrong
		if len(c.hosts) > 0 { // a fragment: its subnets are in another file
			level = netboot.Remark
		}
		p.find(token{file: name}, level, "there is no subnet, so a dedicated server does not start", "declare the machines' subnets")
		c.assumed = true
	}
	return c, p.findings
}

const (
	deepest = 64      // nested blocks
	most    = 8       // nested includes
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
	// subnet, shared and pool are the blocks being read.
	subnet *subnet
	shared *scope
	pool   *pool
	// recognised counts the statements that are common in dhcpd's files.
	// Foreign is the first word of another statement.
	recognised int
	foreign    string
}

func (p *parser) find(at token, level netboot.Level, text, remedy string) {
	p.findings = append(p.findings, netboot.Finding{File: at.file, Line: at.line, Level: level, Text: text, Remedy: remedy})
}

// load inserts the tokens of a file before the remaining ones.
func (p *parser) load(name string) {
	text, err := p.open(name)
	if err != nil {
		p.find(token{file: p.file}, netboot.Wrong, fmt.Sprintf("reading %q: %v", name, err), "")
		return
	}
	tokens := lex(name, string(text))
	if len(tokens)+len(p.tokens) > longest {
		p.find(token{file: name}, netboot.Wrong, "the configuration is too long to check", "")
		return
	}
	p.tokens = slices.Concat(tokens, p.tokens)
}

// statement returns the words up to a ; or {, and which of them it was. End is 0 at
// the end of the text and '}' at the end of a block.
func (p *parser) statement() (words []token, end byte) {
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		p.tokens = p.tokens[1:]
		if len(words) == 0 {
			p.recognise(t)
		}
		if !t.quoted && (t.text == ";" || t.text == "{" || t.text == "}") {
			return words, t.text[0]
		}
		words = append(words, t)
	}
	return words, 0
}

// common lists words that begin statements of dhcpd. Every working configuration
// has some of them.
const common = " subnet shared-network host group class subclass pool option include if allow deny ignore authoritative" +
	" default-lease-time max-lease-time min-lease-time next-server filename server-name ddns-update-style log-facility" +
	" range hardware fixed-address use-host-decl-names ddns-updates key zone failover local-address set "

// recognise records whether the first token of a statement is common.
func (p *parser) recognise(t token) {
	switch {
	case !t.quoted && strings.Contains(common, " "+t.text+" "):
		p.recognised++
	case p.foreign == "" && t.text != "}" && t.text != ";":
		p.foreign = t.text
	}
}

// block reads the statements of a block into s.
func (p *parser) block(s *scope, top bool) {
	if p.depth++; p.depth > deepest {
		p.find(token{file: p.file}, netboot.Wrong, "the blocks are nested too deep to check", "")
		p.tokens = nil
	}
	defer func() { p.depth-- }()
	for {
		words, end := p.statement()
		switch {
		case end == 0 && len(words) == 0:
			if !top {
				p.find(token{file: p.file}, netboot.Wrong, "a } is missing at the end", "")
			}
			return
		case end == 0:
			p.find(words[0], netboot.Wrong, "the statement has no end: a ; is missing", "")
			return
		case end == '}':
			if len(words) > 0 {
				p.find(words[0], netboot.Wrong, "a ; is missing before the }", "")
			}
			if !top {
				return
			}
			p.find(token{file: p.file}, netboot.Wrong, "there is one } too many", "")
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
		p.find(words[0], netboot.Wrong, words[0].text+" has no if before it", "")
		p.block(&scope{}, false)
	case "subnet":
		p.inSubnet(s, words)
	case "host":
		p.host(s, words)
	case "class":
		p.class(s, words)
	case "subclass":
		p.subclass(s, words)
	case "shared-network":
		inner := &scope{parent: s}
		p.shared = inner
		p.block(inner, false)
		p.shared = nil
	case "pool":
		p.inPool(s)
	case "group":
		p.block(&scope{parent: s}, false)
	case "failover", "zone", "key", "on":
		p.block(&scope{}, false) // nothing that clients see
	default:
		p.find(words[0], netboot.Remark, words[0].text+" { is not evaluated", "")
		p.config.unsure = fmt.Sprintf("%s:%d: %s { is not evaluated", words[0].file, words[0].line, words[0].text)
		p.block(&scope{}, false)
	}
}

// inPool reads a pool of the subnet.
func (p *parser) inPool(s *scope) {
	outside := p.pool
	p.pool = &pool{scope: &scope{parent: s}}
	p.block(p.pool.scope, false)
	if p.subnet != nil {
		p.subnet.pools = append(p.subnet.pools, *p.pool)
	}
	p.pool = outside
}

// class reads a class with its block, in which its conditions are statements.
func (p *parser) class(s *scope, words []token) {
	if len(words) < 2 {
		p.find(words[0], netboot.Wrong, "the class has no name", "")
	}
	c := &class{name: words[len(words)-1].text, scope: &scope{parent: s}}
	p.config.classes = append(p.config.classes, c)
	p.block(c.scope, false)
	for _, st := range c.scope.statements {
		if st.name != "match" && st.name != "spawn" {
			continue
		}
		var err error
		switch values := st.values; {
		case st.name == "spawn" && len(values) > 1: // spawn with VALUE
			c.spawns = true
			c.by, err = parseValue(values[1:], p.names)
		case len(values) > 1 && !values[0].quoted && values[0].text == "if":
			c.test, err = parseCondition(values[1:], p.names)
		default:
			c.by, err = parseValue(values, p.names)
		}
		if err != nil {
			p.find(words[0], netboot.Remark, "class "+c.name+" is not evaluated: "+err.Error(), "")
			c.unread = err.Error()
		}
	}
}

// subclass reads the settings for one value of a class.
func (p *parser) subclass(s *scope, words []token) {
	inner := &scope{parent: s}
	p.addSubclass(words, inner)
	p.block(inner, false)
}

// addSubclass adds a subclass. Without a block it has the settings of the class.
func (p *parser) addSubclass(words []token, inner *scope) {
	for _, c := range p.config.classes {
		if len(words) != 3 || c.name != words[1].text {
			continue
		}
		data := words[2].text
		if !words[2].quoted {
			raw, err := number(data)
			if err != nil {
				p.find(words[0], netboot.Remark, "the value "+data+" of the subclass is not evaluated", "")
				c.unread = err.Error()
			}
			data = raw
		}
		if inner == nil {
			inner = c.scope
		} else {
			inner.parent = c.scope
		}
		c.subs = append(c.subs, subclass{data, inner})
		return
	}
	p.find(words[0], netboot.Wrong, "the class of the subclass is not declared before it", "")
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
				p.find(at, netboot.Remark, "the condition is not evaluated: "+err.Error(), "")
				b.unread = fmt.Sprintf("%s:%d: %v", at.file, at.line, err)
			}
			b.test = test
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
			p.find(words[0], netboot.Wrong, "a { is missing after "+next, "")
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

func (p *parser) inSubnet(s *scope, words []token) {
	inner := &scope{parent: s}
	n := &subnet{scope: inner, shared: p.shared}
	if len(words) == 4 && words[2].text == "netmask" {
		ip, err1 := netip.ParseAddr(words[1].text)
		mask, err2 := netip.ParseAddr(words[3].text)
		if err1 == nil && err2 == nil && ip.Is4() && mask.Is4() {
			n.network = netip.PrefixFrom(ip, ones(mask)).Masked()
		}
	}
	if !n.network.IsValid() {
		p.find(words[0], netboot.Wrong, "the subnet is not of the form subnet ADDRESS netmask MASK", "")
	}
	p.subnet = n
	p.block(inner, false)
	p.subnet = nil
	p.config.subnets = append(p.config.subnets, n)
}

// ones returns the number of leading ones in a netmask.
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
	p.config.hosts = append(p.config.hosts, host{scope: inner, name: words[len(words)-1].text})
	h := &p.config.hosts[len(p.config.hosts)-1]
	for _, st := range inner.statements {
		switch st.name {
		case "hardware":
			mac, ok := parseMAC(st.last())
			if !ok {
				p.find(words[0], netboot.Wrong, "the host's hardware address "+st.last()+" is not a MAC address of six bytes", "")
			}
			h.mac = mac
		case "fixed-address":
			for _, v := range st.values {
				ip, err := netip.ParseAddr(v.text)
				switch {
				case err == nil:
					h.ips = append(h.ips, ip)
				case v.text != ",":
					h.unread = fmt.Sprintf("%s:%d: fixed-address is the name %s", v.file, v.line, v.text)
				}
			}
		}
	}
}

// parseMAC parses an Ethernet address. Its bytes may have one digit.
func parseMAC(s string) (hardware.MAC, bool) {
	raw, err := number(s)
	if err != nil || len(raw) != len(hardware.MAC{}) {
		return hardware.MAC{}, false
	}
	return hardware.MAC([]byte(raw)), true
}

// simple reads a statement that ends with a semicolon.
func (p *parser) simple(s *scope, words []token) {
	name, values := words[0].text, words[1:]
	switch name {
	case "include":
		if len(values) == 1 {
			if p.included++; p.included > most {
				p.find(words[0], netboot.Wrong, "the configuration includes too many files to check", "")
				return
			}
			p.load(values[0].text)
		}
		return
	case "option":
		p.option(s, words)
		return
	case "supersede", "default", "append", "prepend", "send":
		if len(values) > 1 {
			p.option(s, words)
		}
		return
	case "subclass":
		p.addSubclass(words, nil)
		return
	case "range":
		if p.pool == nil && p.subnet != nil && len(p.subnet.pools) == 0 {
			p.subnet.pools = append(p.subnet.pools, pool{scope: s})
		}
	case "next-server":
		if len(values) != 1 || values[0].quoted {
			p.find(words[0], netboot.Wrong, `next-server takes an address without quotes`, "write next-server 192.0.2.9;")
		}
	case "filename", "server-name":
		st := statement{name: name, values: values}
		p.evaluated(&st)
		s.statements = append(s.statements, st)
		return
	case "allow", "deny", "ignore":
		if p.pool != nil && s == p.pool.scope {
			p.pool.permits = append(p.pool.permits, permit{name == "allow", join(values)})
			return
		}
		if name != "allow" && join(values) == "booting" {
			p.find(words[0], netboot.Remark, name+" booting keeps the machines from booting", "remove it")
		}
	}
	s.statements = append(s.statements, statement{name: name, values: values})
}

// join returns the words of a statement, separated by spaces.
func join(values []token) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = v.text
	}
	return strings.Join(text, " ")
}

// evaluated parses the value of a statement, which may be an expression.
func (p *parser) evaluated(st *statement) {
	values := st.values
	if len(values) > 0 && !values[0].quoted && values[0].text == "=" {
		values = values[1:]
	}
	if len(values) == 1 && values[0].quoted {
		return
	}
	if len(values) == 1 {
		if st.name != "option" {
			p.find(values[0], netboot.Wrong, st.name+" takes a string in double quotes", "")
		}
		return
	}
	v, err := parseValue(values, p.names)
	if err != nil {
		st.unread = err.Error()
	}
	st.expression = v
}

// option reads the value or the declaration of an option.
func (p *parser) option(s *scope, words []token) {
	if len(words) < 3 {
		p.find(words[0], netboot.Wrong, "the option has no value", "")
		return
	}
	if words[2].text == "code" && len(words) > 3 {
		if code, err := strconv.Atoi(words[3].text); err == nil {
			p.names[words[1].text] = code
		}
		return
	}
	code := codeOf(words[1].text, p.names)
	st := statement{name: "option", code: code, values: words[2:], optional: words[0].text == "default"}
	switch code {
	case 12, 15, 60, 66, 67:
		p.evaluated(&st)
	}
	if words[0].text == "append" || words[0].text == "prepend" {
		st.unread = words[0].text + " is not evaluated"
	}
	s.statements = append(s.statements, st)
}

// codeOf returns the number of an option, or 0 for an option that is not used here.
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
