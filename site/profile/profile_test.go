package profile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/linuxkit"
	"hookbuild/site"
	"hookbuild/site/profile"
)

const (
	key1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPm5xCjIQ3eGPsVz1UwlgjqYBTuWYBB8ILiB1/iTzNK admin@example"
	key2 = `from="192.0.2.0/24" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFLUtcHvPX0AOZFBbKj3kN5ECjjUpCZ0GxVMIEXIVJ7E other`
	hash = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// authority returns a certificate in PEM form that is valid for a year from start.
func authority(t testing.TB, name string, start time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: start.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// directory has the files that the tests' profiles name.
func directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	root := authority(t, "Example Root", now.AddDate(0, -1, 0))
	for name, content := range map[string]string{
		"root.pem": string(root), "again.pem": string(root), "other.pem": string(authority(t, "Registry Root", now.AddDate(0, -1, 0))),
		"old.pem": string(authority(t, "Old Root", now.AddDate(-3, 0, 0))), "empty.pem": "nothing\n",
		"broken.pem":  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"key.pem":     "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
		"private.pem": string(root) + "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
		"password":    "geheim\n", "two-lines": "a\nb\n", "hash": hash + "\n", "plain": "geheim\n",
		"keys.pub": "# ours\n\n" + key2 + "\n", "id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "none.pub": "# nothing\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readProfile reads the text as a file of its own.
func readProfile(t testing.TB, text string) (profile.Profile, profile.Lines, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return site.ReadProfile(path)
}

func load(t testing.TB, dir, text string) (*profile.Site, error) {
	t.Helper()
	p, lines, err := readProfile(t, text)
	if err != nil {
		return nil, err
	}
	env := map[string]string{"PASSWORD": "hush"}
	return p.Load(profile.Inputs{Name: "site.yaml", Line: lines.Of, Dir: dir, Getenv: func(k string) string { return env[k] }, Now: now})
}

func document(t testing.TB, file string) *linuxkit.Document {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := linuxkit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var variables = map[string]string{profile.SSHDVariable: "sshd:1"}

// apply returns the document with upstream's names with a profile applied.
func apply(t testing.TB, text string) (*linuxkit.Document, error) {
	t.Helper()
	s, err := load(t, directory(t), text)
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t, "testdata/upstream-names.yaml")
	o, err := s.Overlay(doc, variables)
	if err != nil {
		return nil, err
	}
	return doc.Overlay("hook.template.yaml", o)
}

const full = `ca: [root.pem]
registries:
  - {host: "registry.example:5000", ca: other.pem}
  - {host: docker.io, username: ci, password-file: password}
docker-hub-mirrors: ["https://mirror.example:443"]
proxy: {http: "http://user:secret@proxy.example:3128", none: [registry.example, 192.0.2.0/24]}
ntp: [ntp1.example, 192.0.2.5]
dns: {servers: [192.0.2.1, 192.0.2.2], search: [example]}
network:
  vlan: 7
  machines:
    - {mac: 52-54-00-12-34-56, address: 192.0.2.10/24, gateway: 192.0.2.1, vlan: 5}
    - {mac: "52:54:00:12:34:57", vlan: 6}
ssh: {authorized-keys: ["` + key1 + `"], key-files: [keys.pub]}
console: {login: password, password-hash-file: hash}
motd: Hello
`

func TestOverlayOfUpstreamsTemplate(t *testing.T) {
	doc, err := apply(t, full)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*linuxkit.File{}
	for _, f := range doc.Files {
		files[f.Path] = f
	}
	contains := map[string][]string{
		"etc/hookbuild/ca.crt":                            {"BEGIN CERTIFICATE"},
		"etc/docker/certs.d/registry.example:5000/ca.crt": {"BEGIN CERTIFICATE"},
		"root/.docker/config.json":                        {`"https://index.docker.io/v1/":{"auth":"Y2k6Z2VoZWlt"}`},
		"etc/hookbuild/dockerd":                           {"--registry-mirror 'https://mirror.example:443'", "HTTP_PROXY='http://user:secret@proxy.example:3128'", "NO_PROXY='registry.example,192.0.2.0/24'"},
		"etc/hookbuild/ntpd.conf":                         {"server ntp1.example\nserver 192.0.2.5\n"},
		"etc/init.d/004-site-network.sh": {
			"machine 52:54:00:12:34:56 '192.0.2.10/24' '192.0.2.1' '5'\n", "machine 52:54:00:12:34:57 '' '' '6'\n", "others 7\n", "names 192.0.2.1 192.0.2.2 search example\n",
		},
		"root/.ssh/authorized_keys": {key1 + "\n" + key2 + "\n"},
		"etc/getty.shadow":          {"root:" + hash + ":"},
		"etc/motd":                  {"Hello\n"},
	}
	for path, texts := range contains {
		f := files[path]
		if f == nil || f.Contents == nil {
			t.Errorf("there is no %s", path)
			continue
		}
		for _, text := range texts {
			if !strings.Contains(*f.Contents, text) {
				t.Errorf("%s has no %q:\n%s", path, text, *f.Contents)
			}
		}
	}
	for path, mode := range map[string]string{"root/.docker/config.json": "0600", "root/.ssh/authorized_keys": "0600", "etc/getty.shadow": "0600", "etc/motd": "0644", "etc/hookbuild/dockerd": "0755"} {
		if files[path] != nil && files[path].Mode != mode {
			t.Errorf("%s has the mode %s, want %s", path, files[path].Mode, mode)
		}
	}
	edits := map[string][]linuxkit.FileEdit{
		"etc/ip/dhcp.sh": {{Text: "pool.ntp.org", With: "ntp1.example", Optional: true}},
		"dhcpcd.conf":    {{Append: "\nstatic domain_name_servers=192.0.2.1 192.0.2.2\nstatic domain_search=example\n"}},
	}
	for path, want := range edits {
		if diff := cmp.Diff(want, files[path].Edits); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if bundle := files["etc/ssl/certs/ca-certificates.crt"]; bundle == nil || len(bundle.Edits) != 1 || !strings.Contains(bundle.Edits[0].Append, "BEGIN CERTIFICATE") || !bundle.Optional {
		t.Errorf("the host's bundle is changed by %+v", bundle)
	}
	binds := map[string][]string{
		"hook-docker": {
			"/etc/hookbuild/ca.crt:/etc/ssl/certs/hookbuild-site.crt:ro", "/etc/docker/certs.d:/etc/docker/certs.d:ro",
			"/root/.docker:/root/.docker:ro", "/etc/hookbuild/dockerd:/usr/local/sbin/dockerd:ro", "/var/run/images:/var/lib/docker",
		},
		"ntpd": {"/etc/hookbuild/ntpd.conf:/etc/ntpd.conf:ro"},
		"sshd": {"/root/.ssh/authorized_keys:/root/.ssh/authorized_keys:ro", "/etc/profile.d/local.sh:/etc/profile.d/local.sh", "/usr/bin/nerdctl:/usr/bin/nerdctl"},
	}
	for name, want := range binds {
		c := service(doc, name)
		if c == nil {
			t.Errorf("there is no service %s", name)
			continue
		}
		for _, bind := range want {
			if !slices.Contains(c.BindsAdd, bind) {
				t.Errorf("%s has no bind %s: %v", name, bind, c.BindsAdd)
			}
		}
	}
	if getty := service(doc, "getty"); slices.Contains(getty.Env, "INSECURE=true") {
		t.Error("the console is still open")
	}
}

func service(doc *linuxkit.Document, name string) *linuxkit.Container {
	for _, c := range doc.Services {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestConsole(t *testing.T) {
	doc, err := apply(t, "console: {login: off}\n")
	if err != nil || service(doc, "getty") != nil {
		t.Errorf("%v, and the console is still there", err)
	}
	if _, err := apply(t, "console: {login: open}\n"); err == nil || !strings.Contains(err.Error(), "is open already") {
		t.Errorf("opening an open console: %v", err)
	}
}

// TestSamples applies the overlays in the documentation to a document with upstream's
// names, and reads the profiles there.
func TestSamples(t *testing.T) {
	block, variable := regexp.MustCompile(`(?m)(?:^    [^\n]*\n|^\n)+`), regexp.MustCompile(`\$\{HOOK_\w+\}`)
	for page, want := range map[string]int{"site.md": 1, "recipes.md": 2} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for _, sample := range block.FindAllString(string(text), -1) {
			sample = strings.ReplaceAll("\n"+strings.Trim(sample, "\n")+"\n", "\n    ", "\n")[1:]
			switch first, _, _ := strings.Cut(sample, ":"); first {
			case "ca":
				_, _, err = readProfile(t, sample)
			case "files", "services":
				var o *linuxkit.Overlay
				if o, err = linuxkit.ParseOverlay([]byte(variable.ReplaceAllString(sample, "image")), page, ""); err == nil {
					_, err = document(t, "testdata/upstream-names.yaml").Overlay("hook.template.yaml", o)
				}
			default:
				continue
			}
			read++
			if err != nil {
				t.Errorf("%s: %v\n%s", page, err, sample)
			}
		}
		if read != want {
			t.Errorf("%s has %d samples, want %d", page, read, want)
		}
	}
}

// TestSettingsShowNoSecrets looks for every secret in what the manifest lists.
func TestSettingsShowNoSecrets(t *testing.T) {
	s, err := load(t, directory(t), full)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"geheim", "secret", hash, "$6$", "AAAAC3"} {
		if strings.Contains(string(text)+strings.Join(s.Secrets(), " "), secret) {
			t.Errorf("%q is shown: %s", secret, text)
		}
	}
	for _, want := range []string{
		`{"name":"registries[docker.io].password","value":"set"}`, `{"name":"console.password-hash","value":"set"}`, `"Example Root\" sha256:`,
		`{"name":"proxy.http","value":"http://proxy.example:3128"}`, `{"name":"network.machines[52:54:00:12:34:56]","value":"192.0.2.10/24 gateway 192.0.2.1 vlan 5"}`,
		`{"name":"ssh","value":"ssh-ed25519 admin@example"}`, `{"name":"motd","value":"5 bytes"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the settings have no %s:\n%s", want, text)
		}
	}
	if len(s.Secrets()) != 3 {
		t.Errorf("the secrets are %q", s.Secrets())
	}
	if from := strings.Join(s.SecretSources(), "; "); !strings.Contains(from, `"password" (the password of ci at docker.io)`) {
		t.Errorf("the secrets are from %s", from)
	}
}

func TestLoadFaults(t *testing.T) {
	dir := directory(t)
	for text, want := range map[string]string{
		"{}":                               "it sets nothing",
		"ntpd: [a]":                        `site.yaml:1: unknown key "ntpd" (did you mean ntp?)`,
		"ntp: a":                           `site.yaml:1: ntp: this is text, not a list`,
		"Ntp: [a]":                         `unknown key "Ntp"`,
		"ca: [none.pem]":                   "ca[0]: open ",
		"ca: [empty.pem]":                  `ca[0]: "empty.pem" has no certificate in PEM form`,
		"ca: [broken.pem]":                 `ca[0]: certificate 1 of "broken.pem"`,
		"ca: [old.pem]":                    `the certificate "Old Root" of "old.pem" expired on 2024-01-01`,
		"ca: [root.pem, again.pem]":        `ca[1]: "again.pem" has the certificate "Example Root", which is there already`,
		"ca: [private.pem]":                `"private.pem" has the PEM block ec private key beside certificates;`,
		"ca: [key.pem]":                    `"key.pem" has the PEM block ec private key;`,
		"site: {ntp: [a]}":                 "in a file of its own, the keys of site are at the top: ca, registries,",
		"console: {password-hash: $6$a$b}": `site.yaml:1: console: unknown key "password-hash" (did you mean password-hash-file or password-hash-env?)`,
		"ntp: [\"a b\", c d]\ndns: {servers: [ns]}":                                             "reading the site profile \"site.yaml\": 3 problems:\nsite.yaml:1: ntp[0]: \"a b\" is not the name or address of a server\nsite.yaml:1: ntp[1]: \"c d\" is not the name or address of a server\nsite.yaml:2: dns.servers[0]: \"ns\" is not an address",
		"ntpd: [a]\nconsole: {logon: off}":                                                      "2 problems:\n",
		"registries: [{host: a}]":                                                               "registries[0]: nothing is set for a",
		"registries: [{host: \"https://a\", ca: root.pem}]":                                     `"https://a" is not HOST or HOST:PORT`,
		"registries: [{host: ../../etc, ca: root.pem}]":                                         `"../../etc" is not HOST`,
		"registries: [{host: \"a:99999\", ca: root.pem}]":                                       `"a:99999" is not HOST`,
		"registries: [{host: a, ca: root.pem}, {host: a, ca: other.pem}]":                       "registries[1].host: a is listed twice",
		"registries: [{host: a, username: b}]":                                                  "give both or neither",
		"registries: [{host: a, password-file: password}]":                                      "give both or neither",
		"registries: [{host: a, username: b, password-file: password, password-env: PASSWORD}]": "leave one out",
		"registries: [{host: a, username: b, password-env: NONE}]":                              "the environment variable NONE is not set",
		"registries: [{host: a, username: b, password-file: two-lines}]":                        "must be one line of text",
		"registries: [{host: a, username: \"b:c\", password-file: password}]":                   "has a colon",
		"docker-hub-mirrors: [mirror.example]":                                                  "docker-hub-mirrors[0]: it is not a URL",
		"docker-hub-mirrors: [\"https://mirror.example/v2\"]":                                   "without user, path or query",
		"docker-hub-mirrors: [\"https://a\", \"https://a\"]":                                    "https://a is listed twice",
		"proxy: {http: \"proxy:3128\"}":                                                         "proxy.http: it is not a URL",
		"proxy: {http: \"http://a'; reboot\"}":                                                  "proxy.http: it is not a URL",
		"proxy: {http: \"http://a/';reboot\"}":                                                  "has a character that is not allowed",
		"proxy: {none: [a]}":                                                                    "there is no proxy to make an exception from",
		"proxy: {http: \"http://a\", none: [\"a b\"]}":                                          `proxy.none[0]: "a b"`,
		"ntp: [\"a b\"]":               `ntp[0]: "a b" is not the name or address`,
		"ntp: [a, a]":                  "ntp[1]: a is listed twice",
		"dns: {servers: [ns.example]}": `dns.servers[0]: "ns.example" is not an address`,
		"dns: {search: [example]}":     "dns.search: it needs dns.servers",
		"network: {vlan: 4095}":        "network.vlan: 4095 is not a VLAN from 1 to 4094",
		"network: {machines: [{mac: 52-54, address: 192.0.2.1/24}]}":                                                                        `network.machines[0].mac: "52-54" is not`,
		"network: {machines: [{mac: \"52:54:00:00:00:01\"}]}":                                                                               "nothing is set for 52:54:00:00:00:01",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.300/24}]}":                                                      `"192.0.2.300/24" is not an IPv4 address`,
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.10}]}":                                                          "with the length of its network",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.255/24}]}":                                                      "first or last address",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.0/24}]}":                                                        "first or last address",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.10/24, gateway: 198.51.100.1}]}":                                `"198.51.100.1" is not another address in the network`,
		"network: {machines: [{mac: \"52:54:00:00:00:01\", vlan: 3, gateway: 192.0.2.1}]}":                                                  "a gateway needs an address",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", vlan: 3}, {mac: 52-54-00-00-00-01, vlan: 4}]}":                                   "52:54:00:00:00:01 is listed twice",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.10/24}, {mac: \"52:54:00:00:00:02\", address: 192.0.2.10/25}]}": "is 52:54:00:00:00:01's too",
		"ssh: {key-files: [id_rsa]}":                                   "this is a private key",
		"ssh: {key-files: [none.pub]}":                                 `"none.pub" has no key`,
		"ssh: {key-files: [broken.pem]}":                               `profile "site.yaml:1": ssh.key-files[0] ("broken.pem:1"): this is the certificate of a PEM file, not a public key`,
		"ssh: {authorized-keys: [hello]}":                              "this is not a public key",
		"ssh: {authorized-keys: [\"ssh-ed25519 AAAA x\"]}":             "what follows ssh-ed25519 is not a key of that kind",
		"ssh: {authorized-keys: [\"" + key1 + "\", \"" + key1 + "\"]}": "the key ssh-ed25519 admin@example is listed twice",
		"console: {login: maybe}":                                      `"maybe" is not one of open, password, off`,
		"console: {login: password}":                                   "needs password-hash-file or password-hash-env",
		"console: {login: password, password-hash-file: plain}":        "it is not the hash of a password",
		"console: {login: off, password-hash-file: hash}":              "applies to login: password alone",
	} {
		_, err := load(t, dir, text+"\n")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "site.yaml") {
			t.Errorf("%s\n\t%v\n\twant %q", text, err, want)
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: the error is of kind %d, want Invalid", text, fault.KindOf(err))
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// TestMiniature holds what the miniature checkout has no service for to an error
// that says so.
func TestMiniature(t *testing.T) {
	dir := directory(t)
	text, err := os.ReadFile("../../testdata/hook/linuxkit-templates/hook.template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := linuxkit.Parse([]byte(regexp.MustCompile(`\$\{HOOK_\w+\}`).ReplaceAllString(string(text), "image")))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"ntp: [a]":                     "ntp: the template has no service ntpd, which would ask the time servers (its services are hook-docker, hook-bootkit)",
		"console: {login: off}":        "console: the template has no service getty",
		"ssh: {key-files: [keys.pub]}": "ssh: the template has no service sshd, and its checkout no container hook-linuxkit-sshd",
		"network: {vlan: 5}":           "network.vlan: the template runs no DHCP client",
		"network: {machines: [{mac: \"52:54:00:00:00:01\", vlan: 5}]}": "so 52:54:00:00:00:01 needs an address",
	} {
		s, err := load(t, dir, text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Overlay(doc, nil); err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s\n\t%v\n\twant %q", text, err, want)
		}
	}
	for _, text := range []string{"ca: [root.pem]", "dns: {servers: [192.0.2.1]}", "motd: hello", "proxy: {https: \"http://a\"}",
		"registries: [{host: a, ca: root.pem}]", "network: {machines: [{mac: \"52:54:00:00:00:01\", address: 192.0.2.10/24}]}"} {
		s, err := load(t, dir, text)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Overlay(doc, nil)
		if err == nil {
			_, err = doc.Overlay("hook.template.yaml", o)
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCheckImages(t *testing.T) {
	s, err := load(t, directory(t), "docker-hub-mirrors: [\"https://a\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t, "testdata/upstream-names.yaml")
	for path, fits := range map[string]bool{"/usr/local/sbin:/bin": true, "/usr/local/sbin": true, "/bin:/usr/local/sbin": false, "/usr/local/sbin2": false} {
		err := s.CheckImages(doc, func(string) []string { return []string{"A=1", "PATH=" + path} })
		if (err == nil) != fits {
			t.Errorf("PATH=%s: %v", path, err)
		}
	}
	if err := s.CheckImages(doc, func(string) []string { return nil }); err == nil {
		t.Error("an image without a PATH is taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(full)
	f.Add("ntp: [a]\nssh: {authorized-keys: [\"" + key2 + "\"]}\n")
	dir := directory(f)
	doc := document(f, "testdata/upstream-names.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "/") && !strings.HasPrefix(text, "ca:") {
			text = strings.ReplaceAll(text, "file", "fil_") // reads no file outside
		}
		s, err := load(t, dir, text)
		if err != nil {
			return
		}
		o, err := s.Overlay(doc, variables)
		if err != nil {
			return
		}
		if _, err := doc.Overlay("hook.template.yaml", o); err != nil {
			t.Fatalf("the overlay of a checked profile does not fit: %v", err)
		}
	})
}

// A wrong value is named with its line, however deep it is and in either form of YAML.
func TestLoadNamesTheLine(t *testing.T) {
	dir := directory(t)
	for text, want := range map[string]string{
		"motd: hello\nntp:\n  - time.example\n  - not a host\n":                         `"site.yaml:4": ntp[1]`,
		"dns: {servers: [192.0.2.1,\n  nowhere]}\n":                                     `"site.yaml:2": dns.servers[1]`,
		"registries:\n  - host: a.example\n    username: me\n    password-file: none\n": `"site.yaml:4": registries[0].password-file`,
		"x: &c\n  - no-such.pem\n":                                                      "site.yaml:1:",
		"motd: hello\nssh:\n  key-files: [none.pub]\n":                                  `"site.yaml:3": ssh.key-files[0]`,
	} {
		if _, err := load(t, dir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
