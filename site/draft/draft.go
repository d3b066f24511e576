// Package draft writes a first hookbuild.yaml: what is known of a site as keys, and
// what it may want next as comments, each with its meaning.
package draft

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"hookbuild/site"
)

// The Hook checkout of a site that has none: upstream's main branch when this
// hookbuild was made.
const (
	HookURL    = "https://github.com/tinkerbell/hook"
	HookCommit = "1ec09d54a7aa85d19b855c7226218e6c69c0fa64"
)

// Answers are what is known of a site. Paths are relative to the file.
type Answers struct {
	// HookDir is the checkout; "" stands for [HookURL].
	HookDir string
	Flavor  string
	// Cluster is the cluster specification, and Release the EKS Anywhere release
	// that it names; either may be "".
	Cluster, Release string
	// FromBundle embeds the images of a bundle although there is no cluster
	// specification, which implies it.
	FromBundle bool
	// Hardware is hardware.csv, or "". TinkerbellIP goes with it.
	Hardware, TinkerbellIP string
	// Drivers are the kernel options for the site's devices. They are set if
	// Compared says that the flavor's configuration lacks them, and only
	// suggested otherwise.
	Drivers  []Driver
	Compared bool
	// Firmware says which files the drivers request, a line for each driver, and
	// Unsolved says for which devices no driver or option is known.
	Firmware, Unsolved []string
}

// Driver is a kernel option to set, and the devices that need it.
type Driver struct {
	Set    string // "CONFIG_ICE=m"
	Reason string
}

// writer collects lines.
type writer struct{ bytes.Buffer }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// section begins a key with keys of its own, after what it is about.
func (w *writer) section(key, about string) {
	w.line("")
	for text := range strings.Lines(about) {
		w.line("# %s", strings.TrimSpace(text))
	}
	w.line("%s:", key)
}

// key writes a key with its value, as a comment if the value is not known.
func (w *writer) key(known bool, key, value string) {
	comment := "# "
	if known {
		comment = ""
	}
	w.line("  %s%s: %s", comment, key, value)
}

// Text returns the file.
func (a Answers) Text() []byte {
	w := &writer{}
	w.line("%s", site.SchemaLine)
	w.line("# What this site wants its HookOS to be. hookbuild reads it in this directory and")
	w.line("# those below; options of the command line go before it. Paths are relative to it.")
	a.hook(w)
	w.line("\n# The flavors to build; hookbuild flavors lists them.")
	w.line("flavors:\n  - %s", scalar(a.Flavor))
	a.kernel(w)
	a.embed(w)
	w.section("output", "The artifacts, out/hook unless dir says otherwise.")
	w.line("  # The build fails if the initramfs is larger.")
	w.key(false, "max-size", "300MB")
	w.line("  # zstd, gzip or none")
	w.key(false, "compression", "zstd")
	a.network(w)
	a.netboot(w)
	return w.Bytes()
}

func (a Answers) hook(w *writer) {
	w.section("hook", "The Hook checkout: a directory, or a commit that is fetched.")
	w.key(a.HookDir != "", "dir", scalar(orElse(a.HookDir, "../hook")))
	w.key(a.HookDir == "", "url", HookURL)
	w.key(a.HookDir == "", "commit", HookCommit)
}

func (a Answers) kernel(w *writer) {
	set := a.Compared && len(a.Drivers) > 0
	w.section("kernel", "The kernel: latest, build, image:REF, deb:FILE or dir:DIR; by default the newest\npublished one with the checkout's configuration. Options need build, and Docker.")
	w.key(set, "from", "build")
	w.line("  # Pin the point release, or hookbuild kernel --lock pins it in the checkout.")
	w.key(false, "version", "\"32\"")
	if !a.Compared && len(a.Drivers) > 0 {
		w.line("  # Drivers for the devices. Whether the kernel has them is not known, because the")
		w.line("  # checkout's configuration was not at hand: see hookbuild inspect --lspci.")
	}
	comment := "# "
	if set {
		comment = ""
	}
	w.line("  %soptions:", comment)
	drivers := a.Drivers
	if len(drivers) == 0 {
		drivers = []Driver{{"CONFIG_ICE=m", "the Intel E810 in the storage nodes"}}
	}
	for _, d := range drivers {
		w.line("  %s  - set: %s", comment, d.Set)
		w.line("  %s    reason: %s", comment, scalar(d.Reason))
	}
	for _, device := range a.Unsolved {
		w.line("  # %s", comments(device))
	}
	if len(a.Unsolved) > 0 {
		w.line("  # A newer kernel may have it, or the vendor, for module-sources.")
	}
	for _, asks := range a.Firmware {
		w.line("  # %s", comments(asks))
	}
	directory := "firmware"
	if len(a.Firmware) > 0 {
		directory = "/lib/firmware"
	}
	w.line("  # Firmware that drivers ask for: a directory like linux-firmware, or image:REF.")
	w.key(false, "firmware", directory)
}

func (a Answers) embed(w *writer) {
	w.section("embed", "The images to embed, so that machines need no registry to boot.")
	if a.Cluster != "" {
		w.line("  # The release, mirror, proxy and images of the cluster are taken from it.")
	}
	w.key(a.Cluster != "", "cluster", scalar(orElse(a.Cluster, "cluster.yaml")))
	if a.Cluster != "" && a.Release == "" {
		w.line("  # The cluster names no release: name it here, or the latest one is taken.")
	}
	w.key(false, "eksa-version", "v0.24.1")
	w.line("  # For EKS Anywhere without a cluster specification: embed the images of the")
	w.line("  # installed eksctl's release, else of the latest one.")
	w.key(a.FromBundle, "from-bundle", "true")
	w.line("  # The worker is that of the release: name another, or set no-worker.")
	w.key(false, "worker-image", "ghcr.io/tinkerbell/tink-agent:latest")
	w.line("  # Further images.")
	w.line("  # images:")
	w.line("  #   - source: registry.example/tools:1")
	w.line("  #     name: 127.0.0.1/embedded/tools")
	w.line("  #     reason: wipes disks")
}

func (a Answers) network(w *writer) {
	w.section("network", "How this machine reaches registries and servers.")
	w.line("  # mirrors:")
	w.line("  #   - from: public.ecr.aws")
	w.line("  #     to: mirror.example:443/ecr")
	w.key(false, "ca-files", "[site-ca.pem]")
	w.line("  # proxy:")
	w.line("  #   https: http://proxy.example:3128")
	w.line("  #   none: [.example]")
}

func (a Answers) netboot(w *writer) {
	w.section("netboot", "The machines and their DHCP server, for hookbuild dhcp.")
	w.key(a.Hardware != "", "hardware", scalar(orElse(a.Hardware, "hardware.csv")))
	w.key(a.TinkerbellIP != "", "tinkerbell-ip", scalar(orElse(a.TinkerbellIP, "192.0.2.10")))
	w.line("  # Where machines boot from while the management cluster is created: what create")
	w.line("  # cluster is told as --tinkerbell-bootstrap-ip, or the admin machine's address.")
	w.key(false, "bootstrap-ip", "192.0.2.9")
	w.line("  # dnsmasq, kea, dhcpd or windows")
	w.key(false, "server", "kea")
}

// comments returns text on one line, as a comment may have it.
func comments(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || unicode.IsControl(r) }), " ")
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// scalar returns text as a YAML value on one line.
func scalar(text string) string {
	out, err := yaml.Marshal(text)
	if err != nil || bytes.Count(out, []byte("\n")) != 1 {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSpace(string(out))
}
