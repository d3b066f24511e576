// Package check says whether a DHCP server's configuration gives the machines
// what they need to boot. It does not compare texts: it asks the parsed
// configuration as every machine would, in every step, and compares the
// answers with the plan's. Then it runs the server's own checker, which knows
// the syntax, where that is installed.
package check

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"hookbuild/internal/words"
	"hookbuild/netboot"
)

// Request says what to check against what.
type Request struct {
	Server netboot.Server
	Plan   *netboot.Plan
	// File is the configuration, Open reads it and what it includes.
	File string
	Open netboot.Opener
	Scope
}

// Result is what was found.
type Result struct {
	Findings []netboot.Finding
	// Unread reports that the file is no configuration of the server, or has
	// an error of syntax that ends the reading.
	Unread bool
	// Checked says that the server's own checker ran; if not, Why.
	Checked bool
	Why     string
}

// Count returns the number of findings of a level.
func (r Result) Count(l netboot.Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// Run checks a configuration. An error means that it could not be checked.
func Run(ctx context.Context, r Request) (Result, error) {
	config, findings := r.Server.Parse(r.Open, r.File)
	if config == nil {
		return Result{Findings: findings, Unread: true, Why: "the file is not one of its configurations"}, nil
	}
	result := Result{Findings: findings}
	for _, f := range Compare(r.Plan, config, r.Scope) {
		f.File = r.File
		result.Findings = append(result.Findings, f)
	}
	own, why, err := selfCheck(ctx, r.Server.Checker(r.File))
	if err != nil {
		return result, err
	}
	result.Checked, result.Why = why == "", why
	result.Findings = append(result.Findings, own...)
	return result, nil
}

// mostWait is how long a server's checker may take.
const mostWait = 30 * time.Second

// selfCheck runs the server's own checker. Why says why it did not run.
func selfCheck(ctx context.Context, command []string) (findings []netboot.Finding, why string, err error) {
	if len(command) == 0 {
		return nil, "it has none", nil
	}
	program, err := lookPath(command[0])
	if err != nil {
		return nil, command[0] + " is not installed here", nil
	}
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && ctx.Err() == nil:
		return []netboot.Finding{refusal(command, string(output))}, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("running %s: %w", strings.Join(command, " "), err)
	}
	for line := range strings.Lines(string(output)) {
		if _, text, ok := strings.Cut(line, " WARN "); ok {
			findings = append(findings, netboot.Finding{Level: netboot.Remark, Text: command[0] + " warns: " + words.Line(strings.TrimSpace(text))})
		}
	}
	return findings, "", nil
}

// ofThisMachine matches what a checker says of the machine that it runs on,
// not of the configuration: interfaces, directories and libraries that the
// server's own host has.
var ofThisMachine = regexp.MustCompile(`(?i)interface .*(doesn't|does not) exist|no such (file|device)|permission denied|can(not|'t) open|could not open|failed to (open|load)|unable to open|address already in use|hooks? librar(y|ies).*(not found|failed)`)

// refusal words what a checker says of a file that it does not take.
func refusal(command []string, output string) netboot.Finding {
	text := words.Line(causes(output))
	f := netboot.Finding{Text: fmt.Sprintf("%s refuses it: %s", strings.Join(command, " "), text)}
	if ofThisMachine.MatchString(text) {
		f.Level = netboot.Remark
		f.Text = fmt.Sprintf("%s stops at something that this machine lacks: %s", strings.Join(command, " "), text)
		f.Remedy = "run it on the server"
	}
	return f
}

// lookPath also looks where servers are that a user's PATH lacks.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", err
}

// mostCauses bounds the lines of a checker that are shown.
const mostCauses = 6

// causes returns what a checker's output says of the file, on one line. Kea
// marks errors among its log; dhcpd wraps them in a banner and a request to
// read its web pages; dnsmasq writes nothing else.
func causes(output string) string {
	output, _, _ = strings.Cut(output, "\nIf you think you have received this message due to a bug")
	if _, after, ok := strings.Cut(output, "For info, please visit"); ok {
		_, output, _ = strings.Cut(after, "\n")
	}
	var lines, marked []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if _, text, ok := strings.Cut(line, " ERROR "); ok {
			marked = append(marked, text)
		}
		if line != "" && line != "^" && !strings.Contains(line, " INFO ") {
			lines = append(lines, line)
		}
	}
	if len(marked) > 0 {
		lines = marked
	}
	return strings.Join(lines[:min(len(lines), mostCauses)], "; ")
}
