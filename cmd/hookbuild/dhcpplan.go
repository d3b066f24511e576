package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// planFlags returns the flags that describe what the machines are told.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hardware", Usage: "read the machines from `FILE`, EKS Anywhere's hardware.csv"},
		&cli.StringFlag{Name: "cluster", Usage: "take the EKS Anywhere release and the Tinkerbell IP from the cluster specification `FILE`"},
		&cli.StringFlag{Name: "tinkerbell-ip", Usage: "the `IP` address of the cluster's Tinkerbell (default: spec.tinkerbellIP of --cluster)"},
		&cli.StringFlag{Name: "bootstrap-ip", Usage: "the `IP` address of Tinkerbell while the management cluster is created"},
		&cli.StringFlag{Name: "phase", Usage: "boot from Tinkerbell in `PHASE`, bootstrap or cluster (default: bootstrap if --bootstrap-ip is set, else cluster)"},
		&cli.StringFlag{Name: "eksa-version", Value: netboot.LatestRelease, Usage: "use port, paths and file names of EKS Anywhere `VERSION`", DefaultText: "the release of --cluster, else " + netboot.LatestRelease},
		&cli.StringSliceFlag{Name: "subnet", Usage: "the subnet `CIDR` that machines may be in (repeatable; default: what they need)"},
		&cli.StringFlag{Name: "domain", Usage: "announce the DNS `DOMAIN`"},
		&cli.DurationFlag{Name: "lease", Usage: "lease addresses for `TIME` (default: 24h)"},
		&cli.StringFlag{Name: "tag", Value: "eksa", Usage: "begin generated names with `NAME`, to tell apart clusters that share a server"},
		&cli.StringSliceFlag{Name: "user-class", Usage: "send the script to iPXE of user class `CLASS` (repeatable; default: Tinkerbell)"},
		&cli.StringFlag{Name: "interface", Usage: "answer only on the network interface `NAME`"},
		&cli.BoolFlag{Name: "no-vlan-option", Usage: "do not send iPXE the VLAN, for firmware that boots without one although vlan_id is set"},
		&cli.StringFlag{Name: "script-url", Usage: "the full `URL` of auto.ipxe"},
		&cli.StringFlag{Name: "binary-url", Usage: "the `URL` of the directory of iPXE programs"},
		&cli.IntFlag{Name: "http-port", Usage: "the `PORT` in both URLs (default: the release's)"},
		&cli.StringFlag{Name: "script-path", Usage: "the `PATH` of auto.ipxe in its URL (default: the release's)"},
		&cli.StringFlag{Name: "binary-path", Usage: "the `PATH` of the iPXE programs in their URL (default: the release's)"},
		&cli.StringFlag{Name: "bios-file", Usage: "the iPXE program `FILE` for BIOS (default: undionly.kpxe)"},
		&cli.StringFlag{Name: "x86-file", Usage: "the iPXE program `FILE` for UEFI x86-64 (default: ipxe.efi)"},
		&cli.StringFlag{Name: "arm64-file", Usage: "the iPXE program `FILE` for UEFI arm64 (default: the release's)"},
	}
}

// planOptions returns the options of planFlags.
func (a *app) planOptions(c *cli.Context) (netboot.Options, error) {
	o := netboot.Options{
		Domain: c.String("domain"), Lease: c.Duration("lease"), Tag: c.String("tag"),
		UserClasses: c.StringSlice("user-class"), Interface: c.String("interface"), NoVLANOption: c.Bool("no-vlan-option"),
		ScriptURL: c.String("script-url"), BinaryURL: c.String("binary-url"),
		Layout: netboot.Layout{
			HTTPPort: c.Int("http-port"), ScriptPath: c.String("script-path"), BinaryPath: c.String("binary-path"),
			BIOS: c.String("bios-file"), EFI: c.String("x86-file"), ARM64: c.String("arm64-file"),
		},
	}
	cluster, err := specification(c)
	if err != nil {
		return o, err
	}
	o.Version = a.release(c, cluster)
	if o.TinkerbellIP, err = tinkerbellIP(c, cluster); err != nil {
		return o, err
	}
	if o.BootstrapIP, err = addressFlag(c, "bootstrap-ip"); err != nil {
		return o, err
	}
	if c.IsSet("phase") {
		if o.Phase, err = netboot.ParsePhase(c.String("phase")); err != nil {
			return o, fault.Mark(err, fault.Usage)
		}
	}
	for _, text := range c.StringSlice("subnet") {
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return o, usagef("--subnet %q is not of the form 192.0.2.0/24", text)
		}
		o.Subnets = append(o.Subnets, subnet)
	}
	if _, known, err := netboot.LayoutOf(o.Version); err == nil && !known {
		progress.Warnf(a.sink(), "EKS Anywhere %s is newer than the releases that hookbuild knows; hookbuild uses the paths of %s: try them with curl first", o.Version, netboot.LatestRelease)
	}
	return o, fault.Mark(o.Validate(), fault.Usage)
}

// specification returns the cluster specification of --cluster, or nil if the
// option is not set.
func specification(c *cli.Context) (*bundles.Cluster, error) {
	if c.String("cluster") == "" {
		return nil, nil //nolint:nilnil // no file was named, which is no error
	}
	return bundles.ReadCluster(c.String("cluster"))
}

// release returns the EKS Anywhere release whose paths are used. It notes a release
// that the command line does not name, because machines get a 404 from any other.
func (a *app) release(c *cli.Context, cluster *bundles.Cluster) string {
	version := c.String("eksa-version")
	switch {
	case c.IsSet("eksa-version"):
	case cluster != nil && cluster.Version != "":
		version = cluster.Version
		a.note("port and paths are those of EKS Anywhere %s, which %s names", version, cluster.File)
	case cluster != nil:
		a.note("port and paths are those of EKS Anywhere %s, the newest known release, because %s names none; --eksa-version chooses another", version, cluster.File)
	default:
		a.note("port and paths are those of EKS Anywhere %s, the newest known release; --cluster FILE or --eksa-version chooses the site's", version)
	}
	return version
}

// tinkerbellIP returns the address of --tinkerbell-ip, else that of the cluster
// specification.
func tinkerbellIP(c *cli.Context, cluster *bundles.Cluster) (netip.Addr, error) {
	ip, err := addressFlag(c, "tinkerbell-ip")
	if err != nil || ip.IsValid() {
		return ip, err
	}
	if cluster != nil && cluster.TinkerbellIP.IsValid() {
		return cluster.TinkerbellIP, nil
	}
	return ip, usagef("the Tinkerbell IP, which machines boot from, is missing; set --tinkerbell-ip, or netboot.tinkerbell-ip in hookbuild.yaml, to spec.tinkerbellIP of the TinkerbellDatacenterConfig, or name its file with --cluster")
}

func addressFlag(c *cli.Context, name string) (netip.Addr, error) {
	if c.String(name) == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(c.String(name))
	if err != nil {
		return ip, usagef("--%s %q is not an IP address", name, c.String(name))
	}
	return ip, nil
}

// readHardware reads the machines. The error lists every problem of the file.
func (a *app) readHardware(c *cli.Context, o netboot.Options) ([]hardware.Machine, error) {
	name := c.String("hardware")
	if name == "" {
		return nil, usagef("name the machines with --hardware hardware.csv")
	}
	return a.readHardwareFile(name, o)
}

func (a *app) readHardwareFile(name string, o netboot.Options) ([]hardware.Machine, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalidf("opening the hardware list: %w", err)
	}
	defer f.Close()
	machines, warnings, err := hardware.Read(f, o.Rules())
	for _, w := range warnings {
		progress.Warnf(a.sink(), "%s:%s", name, w)
	}
	var wrong hardware.Faults
	if errors.As(err, &wrong) {
		return nil, fault.Invalidf("reading %q: %s:\n%s", name, words.Count(len(wrong), "problem"), prefixLines(name+":", err.Error()))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the hardware list %q: %w", name, err)
	}
	return machines, nil
}

func prefixLines(prefix, text string) string {
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}

// planned is a plan with what it was made from.
type planned struct {
	*netboot.Plan
	options  netboot.Options
	machines []hardware.Machine
}

// loadPlan returns the plan that the flags describe.
func (a *app) loadPlan(c *cli.Context) (planned, error) {
	o, err := a.planOptions(c)
	if err != nil {
		return planned{}, err
	}
	machines, err := a.readHardware(c, o)
	if err != nil {
		return planned{}, err
	}
	if !o.BootstrapIP.IsValid() && o.Phase == "" {
		a.note("without --bootstrap-ip this is for phase %s, after the management cluster is created; until then machines boot from the bootstrap IP", netboot.Cluster)
	}
	plan, err := netboot.New(o, machines)
	return planned{plan, o, machines}, fault.Mark(err, fault.Usage)
}

// other returns the plan of the other phase, or nil if its address is not known.
func (p planned) other() *netboot.Plan {
	if !p.OtherAddress.IsValid() {
		return nil
	}
	o := p.options
	o.Phase = p.Phase.Other()
	return planOrNil(o, p.machines)
}

// at returns the plan with another address in its phase, or nil if it cannot be one.
func (p planned) at(ip netip.Addr) *netboot.Plan {
	o := p.options
	o.TinkerbellIP = ip
	if p.Phase == netboot.Bootstrap {
		o.TinkerbellIP, o.BootstrapIP = p.OtherAddress, ip
	}
	return planOrNil(o, p.machines)
}

func planOrNil(o netboot.Options, machines []hardware.Machine) *netboot.Plan {
	p, err := netboot.New(o, machines)
	if err != nil {
		return nil
	}
	return p
}
