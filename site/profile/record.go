package profile

import (
	"fmt"
	"net/url"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/linuxkit"
)

// Setting is a setting of a site that went into a HookOS, without its secrets.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Settings lists what the site sets, in the order of the file. Of a secret it says
// that it is set.
func (s *Site) Settings() []Setting {
	var all []Setting
	add := func(name, value string) {
		if value != "" {
			all = append(all, Setting{name, value})
		}
	}
	for _, c := range s.ca {
		add("ca", c.text())
	}
	for _, r := range s.registries {
		for _, c := range r.ca {
			add("registries["+r.Host+"].ca", c.text())
		}
		add("registries["+r.Host+"].username", r.Username)
		add("registries["+r.Host+"].password", secret(r.password))
	}
	add("docker-hub-mirrors", strings.Join(s.Mirrors, " "))
	add("proxy.https", withoutLogin(s.Proxy.HTTPS))
	add("proxy.http", withoutLogin(s.Proxy.HTTP))
	add("proxy.none", strings.Join(s.Proxy.None, " "))
	add("ntp", strings.Join(s.NTP, " "))
	add("dns.servers", strings.Join(s.DNS.Servers, " "))
	add("dns.search", strings.Join(s.DNS.Search, " "))
	add("network.vlan", number(s.Network.VLAN))
	for _, m := range s.Network.Machines {
		add("network.machines["+m.MAC+"]", m.text())
	}
	for _, k := range s.keys {
		add("ssh", strings.TrimSpace(k.kind+" "+k.comment))
	}
	add("console.login", s.Console.Login)
	add("console.password-hash", secret(s.hash))
	if s.MOTD != "" {
		add("motd", fmt.Sprintf("%d bytes", len(s.MOTD)))
	}
	return all
}

// File is a file of a site, or what the profile itself says.
type File struct {
	Name, Digest string
}

// Entry is the name of the profile itself among its files.
const Entry = "site"

// Files lists the profile, under the name [Entry], and the files that it names, as
// it names them. Passwords and their hashes have no part in the digests: from the
// digest of a short secret one could find the secret.
func (s *Site) Files() ([]File, error) {
	p := s.Profile
	p.Proxy.HTTPS, p.Proxy.HTTP = withoutLogin(p.Proxy.HTTPS), withoutLogin(p.Proxy.HTTP)
	sum, err := digest.Key(p)
	if err != nil {
		return nil, fmt.Errorf("naming the site profile %q: %w", s.name, err)
	}
	return append([]File{{Entry, "sha256:" + sum}}, s.files...), nil
}

// Secrets names the settings that are secrets.
func (s *Site) Secrets() []string {
	return s.secrets(func(what, _, _ string) string { return what })
}

// SecretSources is [Site.Secrets] with the file or the variable of the environment that
// each comes from, if it has one.
func (s *Site) SecretSources() []string {
	return s.secrets(func(what, file, variable string) string {
		switch {
		case file != "":
			return fmt.Sprintf("%q (%s)", file, what)
		case variable != "":
			return "the variable " + variable + " (" + what + ")"
		}
		return what
	})
}

func (s *Site) secrets(name func(what, file, variable string) string) []string {
	var all []string
	for _, r := range s.registries {
		if r.password != "" {
			all = append(all, name("the password of "+r.Username+" at "+r.Host, r.PasswordFile, r.PasswordEnv))
		}
	}
	for _, text := range []string{s.Proxy.HTTPS, s.Proxy.HTTP} {
		if text != withoutLogin(text) {
			all = append(all, name("the login at the proxy "+withoutLogin(text), "", ""))
		}
	}
	if s.hash != "" {
		all = append(all, name("the hash of the console's password", s.Console.HashFile, s.Console.HashEnv))
	}
	return all
}

func (c certificate) text() string { return c.name + " sha256:" + c.fingerprint }

func (m Machine) text() string {
	parts := []string{}
	for _, p := range []struct{ word, value string }{{"", m.Address}, {"gateway ", m.Gateway}, {"vlan ", number(m.VLAN)}} {
		if p.value != "" {
			parts = append(parts, p.word+p.value)
		}
	}
	return strings.Join(parts, " ")
}

func secret(text string) string {
	if text == "" {
		return ""
	}
	return "set"
}

// withoutLogin returns a URL without user and password.
func withoutLogin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	u.User = nil
	return u.String()
}

// CheckImages looks for what the settings need of the images. Env returns the
// environment of an image by its reference.
func (s *Site) CheckImages(doc *linuxkit.Document, env func(ref string) []string) error {
	if len(s.Mirrors) == 0 && s.Proxy.HTTP == "" && s.Proxy.HTTPS == "" {
		return nil
	}
	for _, c := range doc.Services {
		if c.Name != dockerService {
			continue
		}
		variables := env(linuxkit.ExpandReference(c.Image))
		if c.Env != nil {
			variables = c.Env
		}
		if !startsWithLocal(variables) {
			setting := "proxy"
			if len(s.Mirrors) > 0 {
				setting = "docker-hub-mirrors"
			}
			return s.failed("applying", fault.Invalidf("%s: it reaches dockerd by a script at %s, and the PATH of %s, image %q, does not begin with that directory; leave the setting out", setting, dockerdPlace, c.Name, c.Image))
		}
	}
	return nil
}

// startsWithLocal reports whether programs are looked for in /usr/local/sbin first.
func startsWithLocal(env []string) bool {
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			return strings.HasPrefix(list+":", "/usr/local/sbin:")
		}
	}
	return false
}
