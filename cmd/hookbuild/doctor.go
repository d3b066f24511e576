package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/bundles"
	"hookbuild/doctor"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/kernel/plan"
	"hookbuild/kernel/source"
)

func newDoctorCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check whether this machine has what hookbuild needs",
		Description: "Doctor checks memory, cores, disk, Docker, the terminal, registries and servers, the clock and QEMU, and prints how to fix each problem. " +
			"Commands work in spite of warnings; each failure lists what is unavailable until it is fixed. The exit code is 1 if a check failed.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: a.doctor,
	}
}

func (a *app) doctor(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("%q: the command takes no arguments", c.Args().First())
	}
	o, err := a.doctorOptions(c)
	if err != nil {
		return err
	}
	checks := doctor.Run(c.Context, o)
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(a.results(), checks)
	} else {
		err = a.printText(func(w io.Writer) error { return printChecks(w, checks) })
	}
	if err != nil {
		return err
	}
	failed := slices.DeleteFunc(checks, func(c doctor.Check) bool { return c.Status != doctor.Fail })
	if len(failed) == 0 {
		return nil
	}
	names := make([]string, len(failed))
	for i, f := range failed {
		names[i] = f.Name
	}
	return fmt.Errorf("checking this machine: %s failed: %s", words.Count(len(failed), "check"), strings.Join(names, ", "))
}

func (a *app) doctorOptions(c *cli.Context) (doctor.Options, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return doctor.Options{}, err
	}
	client, err := a.webClient(c)
	if err != nil {
		return doctor.Options{}, err
	}
	mirrors, err := parseMirrors(c)
	insecure := c.StringSlice("insecure-registry")
	return doctor.Options{
		Out: c.String("out"), Cache: dir, Registries: a.registries(mirrors),
		Servers: []doctor.Server{
			{Name: "EKS Anywhere releases", URL: bundles.ReleasesURL, Breaks: "images, all and embed without --bundle FILE"},
			{Name: "kernel.org", URL: source.ReleasesURL, Breaks: "kernel and kernel-config without --source"},
		},
		Keychain: oci.DockerKeychain(), Insecure: insecure, Docker: dockerhost.Connect,
		// Try each once: a person is waiting and can run doctor again.
		Web:   client.WithLimits(web.Limits{Connect: 5 * time.Second, Header: 10 * time.Second, Tries: 1}),
		Stdin: a.stdin, Stdout: a.stdout, Offline: c.Bool("offline"), Now: time.Now,
	}, err
}

// registries returns the hosts that a build pulls from, behind the mirrors.
func (a *app) registries(mirrors []oci.Mirror) []string {
	var hosts []string
	for _, ref := range []string{
		orDefault(a.variable("HOOK_KERNEL_OCI_BASE"), plan.Repository),
		orDefault(a.variable("HOOK_LK_CONTAINERS_OCI_BASE"), build.DefaultContainersBase),
		"public.ecr.aws/eks-anywhere",
	} {
		host, _, _ := strings.Cut(ref, "/")
		for _, m := range mirrors {
			if m.From == host {
				host, _, _ = strings.Cut(m.To, "/")
			}
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func printChecks(w io.Writer, checks []doctor.Check) error {
	const width = 80
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, c := range checks {
		indent := strings.Repeat(" ", 6)
		say("%-4s  %s\n", c.Status, strings.TrimPrefix(wrap(c.Name+": "+c.Found, indent, width), indent))
		if c.Remedy != "" {
			say("%s\n", wrap("-> "+c.Remedy, indent, width))
		}
		if c.Status == doctor.Fail && c.Breaks != "" {
			say("%s\n", wrap("unavailable until fixed: "+c.Breaks, indent, width))
		}
	}
	return errors.Join(errs...)
}
