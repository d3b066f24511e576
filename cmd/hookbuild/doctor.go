package main

import (
	"errors"
	"fmt"
	"io"
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
			"Failures, and warnings that matter to a command, name the commands that are unavailable until they are fixed; at the end is what was not checked. The exit code is 1 if a check failed.",
		Flags:  concat([]cli.Flag{jsonFlag()}, allFlags()),
		Action: a.doctor,
	}
}

func (a *app) doctor(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("%s: name one flavor", quoted(c.Args().Slice()))
	}
	known := newChecked()
	checks, err := a.doctorChecks(c, known)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range commands(a) {
		names = append(names, c.Name)
	}
	summary := known.judge(names, checks)
	if c.Bool("json") {
		err = printChecksJSON(a.results(), checks, summary)
	} else {
		err = a.printText(func(w io.Writer, width int) error {
			return errors.Join(printChecks(w, proseWidth(width), checks), summary.print(w, proseWidth(width)))
		})
	}
	if err != nil {
		return err
	}
	var failed []string
	for _, c := range checks {
		if c.Status == doctor.Fail {
			failed = append(failed, c.Name)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("checking this machine: %s failed: %s", words.Count(len(failed), "check"), strings.Join(failed, ", "))
}

// doctorChecks runs the checks, and records in known which commands' needs they cover.
func (a *app) doctorChecks(c *cli.Context, known *checked) ([]doctor.Check, error) {
	o, err := a.doctorOptions(c)
	if err != nil {
		return nil, err
	}
	checkout, err := a.checkCheckout(c, o.Described)
	if err != nil {
		return nil, err
	}
	if checkout.Status != doctor.Fail {
		err = a.addNeeds(c, &o, known)
	}
	if err != nil && fault.KindOf(err) != fault.Outside {
		return nil, err
	}
	checks := doctor.Run(c.Context, o)
	known.needDocker(checks)
	checks = append(checks, *checkout)
	if err != nil { // such as an overlay that cannot be fetched
		found, remedy := cutRemedy(err)
		checks = append(checks, doctor.Check{
			Name: "this build", Status: doctor.Fail, Found: found, Remedy: remedy + "; then run doctor again, which checks what the build needs",
			Breaks: "the build", Commands: append(buildCommands("kernel"), "kernel"),
		})
	}
	return checks, c.Context.Err()
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
		Described: a.describesBuild(c), Stdin: a.stdin, Stdout: a.stdout, Offline: c.Bool("offline"), Now: time.Now,
	}
	return o, nil
}

// checkCheckout checks the Hook checkout that the commands would use.
func (a *app) checkCheckout(c *cli.Context, described bool) (*doctor.Check, error) {
	check := &doctor.Check{Name: "Hook checkout", Breaks: "all commands that build", Commands: append(buildCommands("kernel"), "kernel", "kernel-config", "kernel-config-shell", "containers")}
	w, err := a.workspace(c)
	switch {
	case err == nil:
		return &doctor.Check{Name: check.Name, Status: doctor.OK, Found: w.Dir}, nil
	case c.Context.Err() != nil, fault.KindOf(err) != fault.Outside && a.wantsCheckout(c):
		return nil, err // what the user wrote is wrong
	}
	check.Status = doctor.Warn
	if described {
		check.Status = doctor.Fail
	}
	if !a.isFetched(c) {
		if _, err := a.flavorOf(c); err != nil {
			return nil, err // such as a flavor that does not exist
		}
	}
	check.Found, check.Remedy = cutRemedy(err)
	if a.isFetched(c) {
		check.Remedy += ", or a mirror or a copy of it with hook.archive in " + a.site.Path
		check.Breaks += ", and every other one that reads the checkout: flavors, matrix, run"
		check.Commands = append(check.Commands, "flavors", "matrix", "run")
	} else {
		check.Remedy += ", or set hook.url in hookbuild.yaml (hookbuild init writes one)"
	}
	return check, nil
}

// cutRemedy returns what an error says, and the next step, which follows its last
// semicolon.
func cutRemedy(err error) (found, remedy string) {
	text := err.Error()
	if at := strings.LastIndex(text, "; "); at >= 0 {
		return text[:at], text[at+len("; "):]
	}
	return text, "correct that"
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
		if c.Status != doctor.OK && c.Breaks != "" {
			say(indent + "unavailable until fixed: " + c.Breaks)
		}
	}
	_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
	return err
}
