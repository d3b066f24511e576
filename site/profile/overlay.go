package profile

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/linuxkit"
)

//go:embed files/network.sh
var networkScript string

//go:embed files/dockerd.sh
var dockerdScript string

// What the settings stand on: names of the template's services and files, and
// paths in its images.
const (
	dockerService = "hook-docker"
	ntpService    = "ntpd"
	sshService    = "sshd"
	gettyService  = "getty"

	hostBundle    = "etc/ssl/certs/ca-certificates.crt"
	certsDir      = "etc/docker/certs.d"
	dhcpScript    = "etc/ip/dhcp.sh"
	dhcpConfig    = "dhcpcd.conf"
	motdFile      = "etc/motd"
	networkFile   = "etc/init.d/004-site-network.sh"
	keysFile      = "root/.ssh/authorized_keys"
	shadowFile    = "etc/getty.shadow"
	ownDir        = "etc/hookbuild"
	dockerdPlace  = "/usr/local/sbin/dockerd"
	publicPool    = "pool.ntp.org"
	sshdContainer = "hook-linuxkit-sshd"
)

// SSHDVariable is the variable of the template that names the image of an SSH
// server.
const SSHDVariable = "HOOK_CONTAINER_LINUXKIT_SSHD_IMAGE"

// overlay grows while the settings are turned into it, one after the other.
type overlay struct {
	*Site
	doc *linuxkit.Document
	// sshd is the image of an SSH server, "" when the checkout has none.
	sshd string
	out  *linuxkit.Overlay
}

// Overlay returns what the site changes of a template. Variables are those that the
// template has been expanded with. A setting that the template has nothing for is an
// error.
func (s *Site) Overlay(doc *linuxkit.Document, variables map[string]string) (*linuxkit.Overlay, error) {
	o := &overlay{s, doc, variables[SSHDVariable], &linuxkit.Overlay{Name: s.name}}
	for _, step := range []func() error{
		o.authorities, o.registryFiles, o.dockerd, o.timeServers, o.nameServers, o.network, o.ssh, o.console, o.motd,
	} {
		if err := step(); err != nil {
			return nil, s.failed("applying", err)
		}
	}
	return o.out, nil
}

// has reports whether the document has the service.
func (o *overlay) has(service string) bool { return o.service(service) != nil }

func (o *overlay) service(name string) *linuxkit.Container {
	for _, c := range o.doc.Services {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (o *overlay) hasFile(name string) bool {
	return slices.ContainsFunc(o.doc.Files, func(f *linuxkit.File) bool { return strings.Trim(path.Clean(f.Path), "/") == name })
}

// lacks is the error about a setting that the document has nothing for.
func (o *overlay) lacks(setting, service, use string) error {
	var names []string
	for _, c := range o.doc.Services {
		names = append(names, c.Name)
	}
	have := "it has none"
	if len(names) > 0 {
		have = "its services are " + strings.Join(names, ", ")
	}
	return fault.Invalidf("%s: the template has no service %s, which %s (%s); leave out the setting, or add the service with an overlay", setting, service, use, have)
}

// change returns the change of a service, which the document has.
func (o *overlay) change(service string) *linuxkit.ContainerChange {
	for _, c := range o.out.Services {
		if c.Name == service {
			return c
		}
	}
	c := &linuxkit.ContainerChange{Name: service}
	o.out.Services = append(o.out.Services, c)
	return c
}

func (o *overlay) bind(service, source, destination string) {
	c := o.change(service)
	c.BindsAdd = append(c.BindsAdd, source+":"+destination+":ro")
}

func (o *overlay) write(name, mode, content string) {
	o.out.Files = append(o.out.Files, &linuxkit.FileChange{File: linuxkit.File{Path: name, Mode: mode, Contents: &content}})
}

// appendTo adds a text of whole lines to a file, whose last line may have no end.
func (o *overlay) appendTo(name, text string, create bool) {
	text = "\n" + text
	o.out.Files = append(o.out.Files, &linuxkit.FileChange{File: linuxkit.File{Path: name, Optional: create}, Append: &text})
}

// authorities adds to the host's bundle, which programs of the host and services
// that bind it read, and puts the certificates where Go, and so dockerd, looks for
// files beside the bundle of its image.
func (o *overlay) authorities() error {
	if len(o.ca) == 0 {
		return nil
	}
	if !o.has(dockerService) {
		return o.lacks("ca", dockerService, "would trust it")
	}
	o.appendTo(hostBundle, bundle(o.ca), true)
	o.write(ownDir+"/ca.crt", "0644", bundle(o.ca))
	o.bind(dockerService, "/"+ownDir+"/ca.crt", "/etc/ssl/certs/hookbuild-site.crt")
	return nil
}

// registryFiles writes what dockerd reads of single registries, and the login of the
// docker command.
func (o *overlay) registryFiles() error {
	if len(o.registries) == 0 {
		return nil
	}
	if !o.has(dockerService) {
		return o.lacks("registries", dockerService, "pulls from them")
	}
	logins := map[string]map[string]string{}
	trusted := false
	for _, r := range o.registries {
		if len(r.ca) > 0 {
			trusted = true
			o.write(path.Join(certsDir, r.Host, "ca.crt"), "0644", bundle(r.ca))
		}
		if r.Username != "" {
			logins[loginKey(r.Host)] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.password))}
		}
	}
	if trusted {
		o.bind(dockerService, "/"+certsDir, "/"+certsDir)
	}
	if len(logins) == 0 {
		return nil
	}
	config, err := json.Marshal(map[string]any{"auths": logins})
	if err != nil {
		return fmt.Errorf("writing the logins: %w", err)
	}
	o.write("root/.docker/config.json", "0600", string(config)+"\n")
	o.bind(dockerService, "/root/.docker", "/root/.docker")
	return nil
}

// loginKey is how the docker command calls a registry in its configuration.
func loginKey(host string) string {
	if host == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return host
}

// dockerd puts a script before dockerd in the PATH of its service: hook-docker
// writes the configuration file itself, and passes empty variables of the proxy.
func (o *overlay) dockerd() error {
	p := o.Proxy
	setting := map[bool]string{true: "docker-hub-mirrors", false: "proxy"}[len(o.Mirrors) > 0]
	if len(o.Mirrors) == 0 && p.HTTP == "" && p.HTTPS == "" {
		return nil
	}
	if !o.has(dockerService) {
		return o.lacks(setting, dockerService, "runs dockerd")
	}
	var b strings.Builder
	b.WriteString(dockerdScript)
	for _, v := range []struct{ name, value string }{{"HTTP_PROXY", p.HTTP}, {"HTTPS_PROXY", p.HTTPS}, {"NO_PROXY", strings.Join(p.None, ",")}} {
		if v.value != "" {
			fmt.Fprintf(&b, "[ -n \"${%[1]s:-}\" ] || %[1]s='%[2]s'\nexport %[1]s\n", v.name, v.value)
		}
	}
	for _, m := range o.Mirrors {
		fmt.Fprintf(&b, "set -- \"$@\" --registry-mirror '%s'\n", m)
	}
	b.WriteString(`
IFS=:
for dir in $PATH; do
	[ "$dir/dockerd" = ` + dockerdPlace + ` ] || [ ! -x "$dir/dockerd" ] || { unset IFS; exec "$dir/dockerd" "$@"; }
done
echo "no dockerd in $PATH" >&2
exit 127
`)
	o.write(ownDir+"/dockerd", "0755", b.String())
	o.bind(dockerService, "/"+ownDir+"/dockerd", dockerdPlace)
	return nil
}

// timeServers configures OpenNTPD, and upstream's script that sets the clock once.
func (o *overlay) timeServers() error {
	if len(o.NTP) == 0 {
		return nil
	}
	if !o.has(ntpService) {
		return o.lacks("ntp", ntpService, "would ask the time servers")
	}
	var b strings.Builder
	for _, server := range o.NTP {
		fmt.Fprintf(&b, "server %s\n", server)
	}
	o.write(ownDir+"/ntpd.conf", "0644", b.String())
	o.bind(ntpService, "/"+ownDir+"/ntpd.conf", "/etc/ntpd.conf")
	if o.hasFile(dhcpScript) {
		o.out.Files = append(o.out.Files, &linuxkit.FileChange{
			File:    linuxkit.File{Path: dhcpScript},
			Replace: []linuxkit.Replacement{{Text: publicPool, With: o.NTP[0], Optional: true}},
		})
	}
	return nil
}

// nameServers tells dhcpcd to use ours. Without dhcpcd they are written at boot, as
// for static addresses.
func (o *overlay) nameServers() error {
	if len(o.DNS.Servers) == 0 || !o.hasFile(dhcpConfig) {
		return nil
	}
	text := "static domain_name_servers=" + strings.Join(o.DNS.Servers, " ") + "\n"
	if len(o.DNS.Search) > 0 {
		text += "static domain_search=" + strings.Join(o.DNS.Search, " ") + "\n"
	}
	o.appendTo(dhcpConfig, text, false)
	return nil
}

// runsDHCP reports whether a container of the document runs a DHCP client.
func (o *overlay) runsDHCP() bool {
	for _, list := range [][]*linuxkit.Container{o.doc.Onboot, o.doc.Services} {
		for _, c := range list {
			if strings.HasPrefix(c.Name, "dhcp") {
				return true
			}
		}
	}
	return false
}

// network writes the script that configures the machines.
func (o *overlay) network() error {
	n := o.Network
	ownNames := len(o.DNS.Servers) > 0 && (len(n.Machines) > 0 || !o.hasFile(dhcpConfig))
	if n.VLAN == 0 && len(n.Machines) == 0 && !ownNames {
		return nil
	}
	if o.hasFile(networkFile) {
		return fault.Invalidf("network: the template has a file %s itself; leave out network, or the file", networkFile)
	}
	var calls strings.Builder
	static := false
	for i, m := range n.Machines {
		static = static || m.Address != ""
		if m.Address == "" && !o.runsDHCP() {
			return fault.Invalidf("network.machines[%d]: the template runs no DHCP client, so %s needs an address", i, m.MAC)
		}
		fmt.Fprintf(&calls, "machine %s '%s' '%s' '%s'\n", m.MAC, m.Address, m.Gateway, number(m.VLAN))
	}
	if n.VLAN != 0 {
		if !o.runsDHCP() {
			return fault.Invalidf("network.vlan: the template runs no DHCP client that would get an address on it; list the machines with addresses")
		}
		fmt.Fprintf(&calls, "others %d\n", n.VLAN)
	}
	if static && o.runsDHCP() && !o.hasFile(dhcpScript) {
		return fault.Invalidf("network.machines: the template's DHCP client would replace the static addresses: it has no %s, upstream's script, which leaves them", dhcpScript)
	}
	script := networkScript
	if calls.Len() > 0 {
		script += "find_cards\n" + calls.String()
	}
	if ownNames {
		script += "names " + strings.Join(o.DNS.Servers, " ")
		if len(o.DNS.Search) > 0 {
			script += " search " + strings.Join(o.DNS.Search, " ")
		}
		script += "\n"
	}
	o.write(networkFile, "0755", script)
	return nil
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// ssh writes the keys, and adds the service where the template has none.
func (o *overlay) ssh() error {
	if len(o.keys) == 0 {
		return nil
	}
	var b strings.Builder
	for _, k := range o.keys {
		b.WriteString(k.line + "\n")
	}
	o.write(keysFile, "0600", b.String())
	const place = "/" + keysFile
	if c := o.service(sshService); c != nil {
		if !bindsTo(c, place) && !bindsTo(c, path.Dir(place)) {
			o.bind(sshService, place, place)
		}
		return nil
	}
	if o.sshd == "" {
		return fault.Invalidf("ssh: the template has no service %s, and its checkout no container %s (the variable %s) to run one; add it to bash/hook-lk-containers.sh, or the service with an overlay", sshService, sshdContainer, SSHDVariable)
	}
	c := o.change(sshService)
	c.Image = o.sshd
	c.BindsAdd = append(c.BindsAdd, place+":"+place+":ro", "/:/host_root")
	for _, shared := range []string{"/etc/profile.d/local.sh", "/usr/bin/nerdctl"} { // as upstream's, where the console has them
		if getty := o.service(gettyService); getty != nil && bindsTo(getty, shared) {
			c.BindsAdd = append(c.BindsAdd, shared+":"+shared)
		}
	}
	return nil
}

// bindsTo reports whether the container has a bind at the path.
func bindsTo(c *linuxkit.Container, destination string) bool {
	return slices.ContainsFunc(slices.Concat(c.Binds, c.BindsAdd), func(b string) bool {
		parts := strings.Split(b, ":")
		return len(parts) > 1 && path.Clean(parts[1]) == destination
	})
}

// console sets how LinuxKit's getty lets one in.
func (o *overlay) console() error {
	if o.Console.Login == "" {
		return nil
	}
	getty := o.service(gettyService)
	if getty == nil {
		return o.lacks("console", gettyService, "logs in on the console")
	}
	open := slices.Contains(getty.Env, "INSECURE=true")
	switch o.Console.Login {
	case "off":
		o.out.Remove.Services = append(o.out.Remove.Services, linuxkit.Word{Text: gettyService})
	case "open":
		if open {
			return fault.Invalidf("console.login: the template's console is open already; leave it out")
		}
		c := o.change(gettyService)
		c.EnvAdd = append(c.EnvAdd, "INSECURE=true")
	case "password":
		c := o.change(gettyService)
		if open {
			c.EnvRemove = append(c.EnvRemove, linuxkit.Word{Text: "INSECURE"})
		}
		o.write(shadowFile, "0600", "root:"+o.hash+":1:0:::::\n")
		if getty.Binds != nil && !bindsTo(getty, "/hostroot/etc") { // the image's own are gone
			c.BindsAdd = append(c.BindsAdd, "/"+shadowFile+":/hostroot/"+shadowFile+":ro")
		}
	}
	return nil
}

// motd replaces the file that the console and the SSH server show.
func (o *overlay) motd() error {
	if o.MOTD == "" {
		return nil
	}
	if !o.hasFile(motdFile) {
		return fault.Invalidf("motd: the template has no file %s that a login would show", motdFile)
	}
	o.write(motdFile, "", strings.TrimRight(o.MOTD, "\n")+"\n")
	return nil
}
