package main

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
	"hookbuild/netboot/serve"
	artifacts "hookbuild/serve"
)

func newNetbootCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "netboot",
		Usage: "try network boot in a lab",
		Subcommands: []*cli.Command{{
			Name:      "serve",
			Usage:     "serve iPXE, auto.ipxe and the kernel and initramfs in DIR, and print what the machines log",
			ArgsUsage: "DIR",
			Flags:     serveFlags(),
			Action:    a.netbootServe,
		}},
	}
}

func serveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ip", Usage: "the `IP` address at which machines reach this host"},
		&cli.StringFlag{Name: "hardware", Usage: "serve only the machines in `FILE`, EKS Anywhere's hardware.csv (default: any machine; none by DHCP)"},
		&cli.StringSliceFlag{Name: "ipxe", Usage: "serve the iPXE programs in `DIR` (repeatable; default: /usr/lib/ipxe or /usr/share/ipxe)"},
		&cli.StringFlag{Name: "cmdline", Usage: "append `ARGS` to the kernel's command line"},
		&cli.StringFlag{Name: "console", Value: "ttyS1,115200", Usage: "the machines' serial console `TTY[,BAUD]`; virtual machines often have only ttyS0"},
		&cli.StringFlag{Name: "grpc-authority", Usage: "the Tink server's `HOST:PORT` (default: this host's port 42113)"},
		&cli.StringFlag{Name: "cluster", Usage: "serve at the paths of the EKS Anywhere release in the cluster specification `FILE`"},
		&cli.StringFlag{Name: "eksa-version", Value: netboot.LatestRelease, Usage: "serve at the paths of EKS Anywhere `VERSION`", DefaultText: "the release of --cluster, else " + netboot.LatestRelease},
		&cli.IntFlag{Name: "http-port", Usage: "the HTTP `PORT` (default: the release's)"},
		&cli.IntFlag{Name: "tftp-port", Value: 69, Usage: "the TFTP `PORT`"},
		&cli.IntFlag{Name: "syslog-port", Value: 514, Usage: "the syslog `PORT`"},
		&cli.DurationFlag{Name: "read-timeout", Value: artifacts.DefaultReadTimeout, Usage: "disconnect an HTTP client that sends or takes nothing for `TIME`"},
		&cli.BoolFlag{Name: "dhcp", Usage: "also answer DHCP, only for the machines in --hardware; needs --interface"},
		&cli.StringFlag{Name: "interface", Usage: "answer DHCP on the network interface `NAME`"},
	}
}

func (a *app) netbootServe(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one directory with vmlinuz-x86_64 and initramfs-x86_64, such as out/hook")
	}
	if c.Bool("dhcp") && (c.String("interface") == "" || c.String("hardware") == "") {
		return usagef("--dhcp answers on one interface and only known machines: add --interface and --hardware")
	}
	if c.Duration("read-timeout") <= 0 {
		return usagef("--read-timeout %s is not positive; write it as 30s", c.Duration("read-timeout"))
	}
	plan, err := a.servePlan(c)
	if err != nil {
		return err
	}
	artifacts, err := artifact.DirOf(c.Args().First())
	if err != nil {
		return err
	}
	programs, err := ipxeDirs(c.StringSlice("ipxe"))
	if err != nil {
		return err
	}
	err = serve.Run(c.Context, serve.Options{
		Plan: plan, AnyMachine: c.String("hardware") == "", Artifacts: artifacts, IPXE: programs,
		Cmdline: c.String("cmdline"), Console: c.String("console"), GRPC: c.String("grpc-authority"),
		TFTPPort: c.Int("tftp-port"), SyslogPort: c.Int("syslog-port"), ReadTimeout: c.Duration("read-timeout"),
		DHCP: c.Bool("dhcp"), Interface: c.String("interface"), Progress: a.sink(),
		Log:   func(line string) { fmt.Fprintln(a.stdout, words.Line(line)) },
		Ready: func() { a.note("serving %s; stop with Ctrl-C", plan.ScriptURL) },
	})
	return err
}

// servePlan returns a plan that boots the machines from this host. The
// distributions' iPXE has the user class "iPXE". It gets the script too, because it
// has no embedded script.
func (a *app) servePlan(c *cli.Context) (*netboot.Plan, error) {
	ip, err := netip.ParseAddr(c.String("ip"))
	if err != nil {
		return nil, usagef("--ip %q is not an IP address; set it to the address at which the machines reach this host", c.String("ip"))
	}
	cluster, err := specification(c)
	if err != nil {
		return nil, err
	}
	o := netboot.Options{
		TinkerbellIP: ip, Version: a.release(c, cluster), Phase: netboot.Cluster,
		Layout: netboot.Layout{HTTPPort: c.Int("http-port")}, UserClasses: []string{"Tinkerbell", "iPXE"},
	}
	if err := o.Validate(); err != nil {
		return nil, fault.Mark(err, fault.Usage)
	}
	var machines []hardware.Machine
	if c.String("hardware") != "" {
		if machines, err = a.readHardware(c, o); err != nil {
			return nil, err
		}
	}
	plan, err := netboot.New(o, machines)
	return plan, fault.Mark(err, fault.Usage)
}

// ipxeDirs returns the given directories, or those in which distributions install
// iPXE.
func ipxeDirs(given []string) ([]string, error) {
	if len(given) > 0 {
		return given, nil
	}
	var found []string
	for _, dir := range []string{"/usr/lib/ipxe", "/usr/share/ipxe", "/usr/share/ipxe/arm64-efi"} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, usagef("there are no iPXE programs in /usr/lib/ipxe or /usr/share/ipxe; install the package ipxe (Fedora: ipxe-bootimgs-x86) or add --ipxe DIR")
	}
	return found, nil
}
