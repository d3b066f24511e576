// Package check reports whether machines can boot with a DHCP server's
// configuration. It does not compare text. It sends the parsed configuration the
// requests of every machine, in every step, and compares the answers with the
// plan's. Then it runs the server's own checker, which knows the syntax, if that
// is installed.
package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/netboot"
)

// Request says what to check, and against which plan.
type Request struct {
	Server netboot.Server
	Plan   *netboot.Plan
	// Other is the plan of the other phase, or nil if its address is not known. Change
	// says how to change the file from that phase to the plan's.
	Other  *netboot.Plan
	Change string
	// At returns the plan with another address of Tinkerbell in its phase, or nil if
	// that cannot be one. It may be nil.
	At func(netip.Addr) *netboot.Plan
	// File is the configuration. Open reads it and the files that it includes.
	File string
	Open netboot.Opener
	Scope
}

// Result is what was found.
type Result struct {
	Findings []netboot.Finding
	// Unread reports whether the file is not a configuration of the server, or
	// has a syntax error that ends the reading.
	Unread bool
	// Checked reports whether the server's own checker ran. Why says why it did
	// not.
	Checked bool
	Why     string
}

// Count returns the number of findings of that level.
func (r Result) Count(l netboot.Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// Run checks a configuration. It returns an error if the configuration could not
// be checked.
func Run(ctx context.Context, r Request) (Result, error) {
	config, findings := r.Server.Parse(r.Open, r.File)
	if config == nil {
		return Result{Findings: findings, Unread: true, Why: "the file is not a configuration of it"}, nil
	}
	result := Result{Findings: findings}
	for _, f := range r.compare(config) {
		f.File = r.File
		result.Findings = append(result.Findings, f)
	}
	own, why, err := selfCheck(ctx, mostWait, r.Server.Checker(r.File))
	if err != nil {
		return result, err
	}
	result.Checked, result.Why = why == "", why
	result.Findings = append(result.Findings, own...)
	return result, nil
}

// compare compares the configuration with the plan. If it is right for the other phase,
// or for another address, that is the only finding: the remedies of the others would undo
// a switch, or replace an address that may be right.
func (r Request) compare(config netboot.Config) []netboot.Finding {
	found := Compare(r.Plan, config, r.Scope)
	if !slices.ContainsFunc(found, isDoubt) {
		return found
	}
	if r.fits(r.Other, config) {
		return []netboot.Finding{{
			Text:   fmt.Sprintf("this is phase %s's configuration, with which machines boot from %s, and phase %s was checked", r.Other.Phase, r.Other.Address, r.Plan.Phase),
			Remedy: fmt.Sprintf("check it with --phase %s, or %s", r.Other.Phase, r.Change),
		}}
	}
	if ip := otherAddress(r.Plan, config, r.Scope); ip.IsValid() && r.At != nil && r.fits(r.At(ip), config) {
		return []netboot.Finding{{
			Text:   fmt.Sprintf("with this configuration machines boot from %s, not from %s of phase %s, which was checked", ip, r.Plan.Address, r.Plan.Phase),
			Remedy: addressRemedy(r.Plan, ip),
		}}
	}
	return found
}

// fits reports whether machines boot with the configuration by a plan, which may be nil.
func (r Request) fits(p *netboot.Plan, config netboot.Config) bool {
	return p != nil && !slices.ContainsFunc(Compare(p, config, r.Scope), isDoubt)
}

// addressRemedy says which options make ip the address of the plan.
func addressRemedy(p *netboot.Plan, ip netip.Addr) string {
	switch {
	case p.Phase == netboot.Bootstrap:
		return fmt.Sprintf("if that is the bootstrap IP, give it with --bootstrap-ip %s", ip)
	case p.OtherAddress.IsValid():
		return fmt.Sprintf("if that is the Tinkerbell IP, give it with --tinkerbell-ip %s", ip)
	}
	return fmt.Sprintf("if that is the bootstrap IP, add --bootstrap-ip %s; if it is the Tinkerbell IP, give it with --tinkerbell-ip %[1]s", ip)
}

// isDoubt reports whether machines may not boot because of a finding.
func isDoubt(f netboot.Finding) bool { return f.Level != netboot.Remark }

// mostWait is the time limit for a server's checker.
const mostWait = 30 * time.Second

// selfCheck runs the server's own checker, for at most limit. Why says why it did not
// run, or is "".
func selfCheck(ctx context.Context, limit time.Duration, command []string) (findings []netboot.Finding, why string, err error) {
	if len(command) == 0 {
		return nil, "this server comes with no program that checks a configuration", nil
	}
	program, err := lookPath(command[0])
	if err != nil {
		return nil, command[0] + " is not installed here", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it has not ended within its time limit of %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && ctx.Err() != nil: // err says only that the checker was killed
		return nil, "", fmt.Errorf("running %s: %w", strings.Join(command, " "), fault.Ended(ctx))
	case errors.As(err, &exit):
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

// ofThisMachine matches messages of a checker about the machine that it runs on,
// not about the configuration: interfaces, directories and libraries that only
// the server's host has.
var ofThisMachine = regexp.MustCompile(`(?i)interface .*(doesn't|does not) exist|no such (file|device)|permission denied|can(not|'t) open|could not open|failed to (open|load)|unable to open|address already in use|hooks? librar(y|ies).*(not found|failed)`)

// refusal returns the finding for the output of a checker that refuses a file.
func refusal(command []string, output string) netboot.Finding {
	text := words.Line(causes(output))
	f := netboot.Finding{Text: fmt.Sprintf("%s refuses the file: %s", strings.Join(command, " "), text)}
	if ofThisMachine.MatchString(text) {
		f.Level = netboot.Remark
		f.Text = fmt.Sprintf("%s needs something that this machine does not have: %s", strings.Join(command, " "), text)
		f.Remedy = "run it on the server"
	}
	return f
}

// lookPath is [exec.LookPath], but also searches directories of servers, which a
// user's PATH often lacks.
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

// mostCauses limits how many lines of a checker are shown.
const mostCauses = 6

// causes returns the errors in a checker's output, on one line. Kea marks errors
// in its log. Dhcpd wraps them in a banner and a request to read its web pages.
// Dnsmasq writes nothing else.
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
