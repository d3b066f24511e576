package check_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// dhcpdSample returns a configuration that ISC dhcpd accepts.
func dhcpdSample(r *rand.Rand) sample {
	g := &dhcpdGrammar{Rand: r, arch: pick(r, "pxe-system-type", "arch", "client-architecture")}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %d", r.IntN(1000))
	if g.arch != "pxe-system-type" {
		line("option %s code 93 = unsigned integer 16;", g.arch)
	}
	line("%s", maybe(r, 3, "default-lease-time 7200; max-lease-time 86400; authoritative;"))
	line("%s", maybe(r, 5, pick(r, "deny unknown-clients;", "allow booting;", "ignore client-updates;", "use-host-decl-names on;")))
	line("%s", g.settings(3))
	classes := r.IntN(3) == 0
	if classes {
		line("%s", g.class())
	}
	boot := g.boot()
	where := r.IntN(4) // global, subnet, group, class
	if where == 0 {
		line("%s", boot)
	}
	shared := r.IntN(5) == 0
	if shared {
		line("shared-network lan {\n%s", g.settings(4))
	}
	line("subnet 192.0.2.0 netmask 255.255.255.0 {")
	line("%s", maybe(r, 8, "option subnet-mask 255.255.0.0;"))
	if r.IntN(10) > 0 {
		line("option routers %s;", pick(r, "192.0.2.1", "192.0.2.1", "192.0.2.254"))
	}
	if r.IntN(10) > 0 {
		line("option domain-name-servers 192.0.2.53%s;", maybe(r, 8, ", 192.0.2.54"))
	}
	switch r.IntN(4) {
	case 0:
		line("range 192.0.2.100 192.0.2.190;")
	case 1:
		line("pool { %s range 192.0.2.100 192.0.2.190; %s }", pick(r, "", "deny unknown-clients;", "allow known-clients;", "allow unknown-clients;", "deny known-clients;"), maybe(r, 3, "filename \"pool.efi\";"))
	}
	line("%s", g.settings(3))
	if where == 1 {
		line("%s", boot)
	}
	inside := r.IntN(3) == 0
	if inside {
		line("%s", g.hosts())
	}
	line("}")
	if shared {
		line("}")
	}
	if where == 3 {
		line("class \"pxe\" { match if %s;\n%s }", pick(r, `substring(option vendor-class-identifier, 0, 9) = "PXEClient"`, `substring (option vendor-class-identifier, 3, 6) = "Client"`, "exists "+g.arch, "exists user-class or exists "+g.arch), boot)
	}
	if !inside {
		if where == 2 {
			line("group {\n%s\n%s}", boot, g.hosts())
		} else {
			line("%s", g.hosts())
		}
	}
	return sample{text: b.String()}
}

type dhcpdGrammar struct {
	*rand.Rand
	arch string
}

// settings returns statements that may be anywhere, each in one of n cases.
func (g *dhcpdGrammar) settings(n int) string {
	return maybe(g.Rand, n, "next-server 192.0.2.9;\n") +
		maybe(g.Rand, 3*n, pick(g.Rand, "filename \"pxelinux.0\";\n", "server-name \"boot.example\";\n", "option tftp-server-name \"192.0.2.9\";\n", "option bootfile-name \"other.efi\";\n", "option vendor-class-identifier \"HTTPClient\";\n", "option domain-name \"example.net\";\n", "default bootfile-name \"default.efi\";\n", "supersede host-name = \"all\";\n"))
}

func (g *dhcpdGrammar) hosts() string {
	var b strings.Builder
	for i, name := range []string{"cp-1", "wk-1"} {
		mac := pick(g.Rand, fmt.Sprintf("02:00:00:00:00:0%d", i+1), fmt.Sprintf("2:0:0:0:0:%d", i+1))
		fmt.Fprintf(&b, "host %s { hardware ethernet %s;", name, mac)
		if g.IntN(10) > 0 {
			fmt.Fprintf(&b, " fixed-address %s;", pick(g.Rand, fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("198.51.100.9, 192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 21+i)))
		}
		if g.IntN(3) > 0 {
			fmt.Fprintf(&b, " option host-name \"%s\";", name)
		}
		b.WriteString(maybe(g.Rand, 10, " filename \"host.efi\";") + maybe(g.Rand, 10, " next-server 192.0.2.9;") + maybe(g.Rand, 20, " deny booting;") + " }\n")
	}
	return b.String()
}

func (g *dhcpdGrammar) class() string {
	return pick(g.Rand,
		"class \"tink\" { match if option user-class = \"Tinkerbell\"; next-server 192.0.2.9; filename \""+scriptURL+"\"; }",
		"class \"kinds\" { match option user-class; }\nsubclass \"kinds\" \"Tinkerbell\" { filename \""+scriptURL+"\"; next-server 192.0.2.9; }",
		"class \"cards\" { match hardware; next-server 192.0.2.9; }\nsubclass \"cards\" 1:02:00:00:00:00:01 { filename \"ipxe.efi\"; }\nsubclass \"cards\" 1:02:00:00:00:00:02;",
		"class \"vendors\" { match substring(option vendor-class-identifier, 0, 20); }\nsubclass \"vendors\" \"PXEClient:Arch:00007\" { filename \"ipxe.efi\"; }",
		"class \"each\" { spawn with option vendor-class-identifier; next-server 192.0.2.9; }",
		"class \"http\" { match if substring(option vendor-class-identifier, 0, 10) = \"HTTPClient\"; option vendor-class-identifier \"HTTPClient\"; filename \""+programs+"ipxe.efi\"; }",
	)
}

// boot returns statements that choose a boot file.
func (g *dhcpdGrammar) boot() string {
	r := g.Rand
	tink := pick(r, `exists user-class and option user-class = "Tinkerbell"`, `option user-class = "Tinkerbell"`, `option user-class ~= "Tinker"`, `option user-class ~~ "tinkerbell"`,
		`substring(option user-class, 0, 6) = "Tinker"`, `suffix(option user-class, 4) = "bell"`, `lcase(option user-class) = "tinkerbell"`, `option user-class = "tinkerbell"`,
		`not (option user-class != "Tinkerbell")`, `option user-class = 54:69:6e:6b:65:72:62:65:6c:6c`, `concat(option user-class, "x") = "Tinkerbellx"`, `known and option user-class = "Tinkerbell"`)
	is := func(n int) string {
		return pick(r, fmt.Sprintf("option %s = 00:%02x", g.arch, n), fmt.Sprintf("substring(option %s, 0, 2) = 00:%02x", g.arch, n), fmt.Sprintf("substring(option vendor-class-identifier, 15, 5) = \"%05d\"", n), fmt.Sprintf("option %s = %x:%x", g.arch, 0, n))
	}
	script := "filename \"" + scriptURL + "\";"
	switch r.IntN(4) {
	case 0:
		return fmt.Sprintf("next-server 192.0.2.9;\nfilename \"ipxe.efi\";\nif %s { %s }\n", tink, script)
	case 1:
		return fmt.Sprintf("if %s { %s }\nelse if %s { filename \"undionly.kpxe\"; }\nelse if %s or %s { filename \"ipxe.efi\"; }\nelse { filename \"%s\"; }\n", tink, script, is(0), is(7), is(9), pick(r, "snp-arm64.efi", "undionly.kpxe"))
	case 2:
		return fmt.Sprintf("next-server 192.0.2.9;\nif %s { filename \"undionly.kpxe\"; } elsif %s { filename \"ipxe.efi\"; }\nif %s { %s }\n", is(0), pick(r, is(7), is(7)+" or "+is(9), "not ("+is(11)+")"), tink, script)
	default:
		return fmt.Sprintf("next-server 192.0.2.9;\nif exists %s {\n if %s { %s } else {\n  if %s { filename \"ipxe.efi\"; }\n  elsif %s { option vendor-class-identifier \"HTTPClient\"; filename \"%s\"; } } }\n", g.arch, tink, script, pick(r, is(7), is(7)+" or "+is(9)), is(16), programs+"ipxe.efi")
	}
}
