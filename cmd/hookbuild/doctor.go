package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/doctor"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
)

func newDoctorCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "check whether this machine has what hookbuild needs",
		ArgsUsage: "[FLAVOR]",
		Description: "Doctor checks memory, cores, disk, Docker, the terminal, registries and servers, the clock and QEMU, and prints how to fix each problem. " +
			"Given a flavor, options of all or hookbuild.yaml, it checks the registries, images and servers that this build needs, with your credentials; else those of upstream's HookOS. " +
			"Commands work in spite of warnings; each failure lists what is unavailable until it is fixed. The exit code is 1 if a check failed.",
		Flags:  concat([]cli.Flag{jsonFlag()}, allFlags()),
		Action: a.doctor,
	}
}

func (a *app) doctor(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("%s: name one flavor", quoted(c.Args().Slice()))
	}
	o, err := a.doctorOptions(c)
	if err != nil && fault.KindOf(err) != fault.Outside {
		return err
	}
	checks := doctor.Run(c.Context, o)
	if err != nil { // such as a checkout that cannot be fetched
		checks = append(checks, doctor.Check{
			Name: "this build", Status: doctor.Fail, Found: err.Error(), Remedy: "what the build needs is not known until this is fixed",
			Breaks: "the build", Commands: append(buildCommands("kernel"), "kernel"),
		})
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(a.results(), checks)
	} else {
		err = a.printText(func(w io.Writer, width int) error {
			return errors.Join(printChecks(w, proseWidth(width), checks), a.printWorking(w, proseWidth(width), checks))
		})
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
	// Try each once: a person is waiting and can run doctor again.
	a.web = client.WithLimits(web.Limits{Connect: 5 * time.Second, Header: 10 * time.Second, Tries: 1})
	keychain, err := a.keychain(c)
	if err != nil {
		return doctor.Options{}, err
	}
	if keychain == nil {
		keychain = oci.DockerKeychain()
	}
	o := doctor.Options{
		Out: c.String("out"), Cache: dir,
		Keychain: keychain, Insecure: c.StringSlice("insecure-registry"), Docker: dockerhost.Connect, Web: a.web,
		Stdin: a.stdin, Stdout: a.stdout, Offline: c.Bool("offline"), Now: time.Now,
	}
	err = a.addNeeds(c, &o)
	return o, err
}

func printChecks(w io.Writer, width int, checks []doctor.Check) error {
	const indent = "      "
	var lines []string
	say := func(text string) { lines = append(lines, words.Fold(text, width, indent)...) }
	for _, c := range checks {
		say(fmt.Sprintf("%-4s  %s: %s", c.Status, c.Name, c.Found))
		if c.Remedy != "" {
			say(indent + "-> " + c.Remedy)
		}
		if c.Status == doctor.Fail && c.Breaks != "" {
			say(indent + "unavailable until fixed: " + c.Breaks)
		}
	}
	_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
	return err
}

// printWorking prints which commands work in spite of the checks that failed.
func (a *app) printWorking(w io.Writer, width int, checks []doctor.Check) error {
	var broken, working []string
	failed := false
	for _, c := range checks {
		if c.Status == doctor.Fail {
			failed = true
			broken = append(broken, c.Commands...)
		}
	}
	if !failed {
		return nil
	}
	for _, c := range commands(a) {
		if !slices.Contains(broken, c.Name) {
			working = append(working, c.Name)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(words.Fold("These commands work in spite of it: "+strings.Join(working, ", "), width, ""), "\n"))
	return err
}
