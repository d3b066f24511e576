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
	"strings"
	"time"

	"hookbuild/netboot"
)

// Request says what to check against what.
type Request struct {
	Server netboot.Server
	Plan   *netboot.Plan
	// File is the configuration, Open reads it and what it includes.
	File string
	Open netboot.Opener
	// Proxy says that another server gives the addresses.
	Proxy bool
}

// Result is what was found.
type Result struct {
	Findings []netboot.Finding
	// Checked says that the server's own checker ran; if not, Why.
	Checked bool
	Why     string
}

// Wrong counts the findings that keep machines from booting.
func (r Result) Wrong() int {
	n := 0
	for _, f := range r.Findings {
		if !f.Doubtful {
			n++
		}
	}
	return n
}

// Run checks a configuration. An error means that it could not be checked.
func Run(ctx context.Context, r Request) (Result, error) {
	config, findings := r.Server.Parse(r.Open, r.File)
	result := Result{Findings: findings}
	if config != nil {
		for _, f := range Compare(r.Plan, config, r.Proxy) {
			f.File = r.File
			result.Findings = append(result.Findings, f)
		}
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
		return []netboot.Finding{{Text: fmt.Sprintf("%s refuses it: %s", strings.Join(command, " "), lastLines(string(output)))}}, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("running %s: %w", strings.Join(command, " "), err)
	}
	for line := range strings.Lines(string(output)) {
		if _, text, ok := strings.Cut(line, " WARN "); ok {
			findings = append(findings, netboot.Finding{Doubtful: true, Text: command[0] + " warns: " + strings.TrimSpace(text)})
		}
	}
	return findings, "", nil
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

// lastLines is the end of a checker's output, on one line: the cause.
func lastLines(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
