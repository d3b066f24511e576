// Package profile turns what a site needs of its HookOS, certificate authorities,
// mirrors, a proxy, time and name servers, addresses, logins, into a LinuxKit
// overlay for the template at hand.
//
//	Profile (in hookbuild.yaml or a file of its own) -> [Profile.Load] -> Site, checked
//	Site + template                                  -> [Site.Overlay] -> linuxkit.Overlay
//
// Every setting works through something of the template: a service that reads a
// file, a script that can be edited, an image with a shell. Where the template has
// no such thing, the setting is an error that says so; none is without effect.
//
// What is left out on purpose: the login of the worker at registries. HookOS takes
// it from the kernel's command line, which Tinkerbell passes.
package profile

// Profile is the `site:` section of hookbuild.yaml or a file of its own. Relative
// paths are relative to the file.
type Profile struct {
	CA         []string   `yaml:"ca" path:"file" doc:"Certificate authorities (PEM) that the host and dockerd trust for every server."`
	Registries []Registry `yaml:"registries" doc:"What dockerd and the docker command know of single registries."`
	Mirrors    []string   `yaml:"docker-hub-mirrors" doc:"URLs of mirrors of Docker Hub, which dockerd asks first. dockerd has mirrors for no other registry."`
	Proxy      Proxy      `yaml:"proxy" doc:"The proxy through which dockerd pulls. HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the kernel's command line take precedence."`
	NTP        []string   `yaml:"ntp" doc:"The time servers, names or addresses."`
	DNS        DNS        `yaml:"dns" doc:"The name servers, in the place of DHCP's."`
	Network    Network    `yaml:"network" doc:"Static addresses and VLANs. ipam= and vlan_id= of the kernel's command line take precedence."`
	SSH        SSH        `yaml:"ssh" doc:"The SSH server, for which the checkout must have the container hook-linuxkit-sshd."`
	Console    Console    `yaml:"console" doc:"The login on the console."`
	MOTD       string     `yaml:"motd" also:"lines" doc:"The message of the day, in the place of the template's."`
}

// Registry is a registry that machines pull from.
type Registry struct {
	Host         string `yaml:"host" need:"yes" doc:"The registry, HOST or HOST:PORT; docker.io is Docker Hub."`
	CA           string `yaml:"ca" path:"file" doc:"The certificate authority (PEM) of this registry alone."`
	Username     string `yaml:"username" doc:"The user name for the docker command of hook-docker. The worker's login comes from the kernel's command line instead."`
	PasswordFile string `yaml:"password-file" path:"file" doc:"The file with the password. Everyone who can fetch the initramfs can read it."`
	PasswordEnv  string `yaml:"password-env" doc:"The environment variable with the password, instead of a file."`
}

// Proxy is an HTTP proxy.
type Proxy struct {
	HTTPS string   `yaml:"https" doc:"The proxy's URL for HTTPS."`
	HTTP  string   `yaml:"http" doc:"The proxy's URL for HTTP."`
	None  []string `yaml:"none" doc:"Hosts, domains and networks that are reached without it."`
}

// DNS says how names are resolved.
type DNS struct {
	Servers []string `yaml:"servers" doc:"The addresses of the name servers."`
	Search  []string `yaml:"search" doc:"The domains in which short names are looked up."`
}

// Network says which machines have which addresses.
type Network struct {
	VLAN     int       `yaml:"vlan" doc:"The VLAN of every machine that is not listed, which DHCP is used on. It is on the card that hw_addr= of the kernel's command line names, else on every Ethernet card."`
	Machines []Machine `yaml:"machines" doc:"Single machines, found by the address of their network card."`
}

// Machine is the network of one machine.
type Machine struct {
	MAC     string `yaml:"mac" need:"yes" doc:"The address of the network card."`
	Address string `yaml:"address" doc:"The IPv4 address with the length of its network, such as 192.0.2.10/24. By default DHCP's."`
	Gateway string `yaml:"gateway" doc:"The address of the default gateway."`
	VLAN    int    `yaml:"vlan" doc:"The VLAN that the address is on."`
}

// SSH says who may log in by SSH.
type SSH struct {
	AuthorizedKeys []string `yaml:"authorized-keys" doc:"Public keys that may log in as root, each as a line of authorized_keys."`
	KeyFiles       []string `yaml:"key-files" path:"file" doc:"Files with such lines."`
}

// Console says how one logs in on the console.
type Console struct {
	Login    string `yaml:"login" enum:"open,password,off" doc:"open needs no password, password asks for root's, and off starts no login. By default what the template has."`
	HashFile string `yaml:"password-hash-file" path:"file" doc:"The file with the hash of root's password, as openssl passwd -6 prints it. Everyone who can fetch the initramfs can read it."`
	HashEnv  string `yaml:"password-hash-env" doc:"The environment variable with the hash, instead of a file."`
}
