package windows

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

// These tests do not run PowerShell. They check that the script uses only a small
// subset of the language, word by word, and that its cmdlets and parameters are
// those of the module's reference.

// cmdlets returns the commands that the script may use, with their parameters in
// the reference of the DhcpServer module.
func cmdlets() map[string][]string {
	policy := []string{"Name", "Condition", "ScopeId", "ProcessingOrder", "VendorClass", "UserClass", "MacAddress", "Description", "Enabled", "ErrorAction"}
	return map[string][]string{
		"Get-DhcpServerv4Class":            {"Name", "Type", "ErrorAction"},
		"Add-DhcpServerv4Class":            {"Name", "Type", "Data", "Description"},
		"Get-DhcpServerv4OptionDefinition": {"OptionId", "ErrorAction"},
		"Add-DhcpServerv4OptionDefinition": {"Name", "Description", "OptionId", "Type"},
		"Get-DhcpServerv4Scope":            {"ScopeId", "ErrorAction"},
		"Get-DhcpServerv4Reservation":      {"ScopeId", "IPAddress", "ErrorAction"},
		"Add-DhcpServerv4Reservation":      {"ScopeId", "IPAddress", "ClientId", "Name", "Description", "Type"},
		"Remove-DhcpServerv4Reservation":   {"ScopeId", "ClientId", "IPAddress"},
		"Set-DhcpServerv4OptionValue":      {"PolicyName", "Force", "ReservedIP", "ScopeId", "UserClass", "VendorClass", "Value", "OptionId", "DnsDomain", "DnsServer", "Router"},
		"Get-DhcpServerv4Policy":           {"Name", "ScopeId", "ErrorAction"},
		"Add-DhcpServerv4Policy":           policy,
		"Set-DhcpServerv4Policy":           policy,
		"Set-StrictMode":                   {"Version"},
		"Write-Warning":                    {},
		"ForEach-Object":                   {},
		"Where-Object":                     {},
		"Group-Object":                     {"Property"},
	}
}

// word is a token of the script.
type word struct {
	text string
	line int
}

// words splits the script into tokens. Strings keep their quotes.
func words(t *testing.T, script string) []word {
	t.Helper()
	token := regexp.MustCompile(`^(?:#[^\n]*|'(?:[^'\n]|'')*'|\$\w+|@\w+|-?[A-Za-z][\w]*(?:-[A-Z][\w]*)?|\d+|@\(|@\{|[(){}\[\].,;=|+]|-\w+)`)
	var list []word
	for i, line := range strings.Split(script, "\n") {
		for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
			m := token.FindString(line)
			if m == "" {
				t.Fatalf("line %d: %q is not of the subset", i+1, line)
			}
			line = line[len(m):]
			if m[0] != '#' {
				list = append(list, word{m, i + 1})
			}
		}
	}
	return list
}

func script(t *testing.T, o netboot.Options) string {
	t.Helper()
	files, err := Server{}.Render(nettest.Plan(t, o), netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	return string(files[0].Content)
}

func TestScriptIsASCII(t *testing.T) {
	for i, c := range []byte(script(t, netboot.Options{})) {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %d is %#x: Windows PowerShell 5 would read it as another character", i, c)
		}
	}
}

func TestBracketsMatch(t *testing.T) {
	if err := brackets(words(t, script(t, netboot.Options{Domain: "example.net"}))); err != nil {
		t.Error(err)
	}
	for _, broken := range []string{"foreach ($a in $b) { (", "@{ a = ( } )", "}"} {
		if brackets(words(t, broken)) == nil {
			t.Errorf("%q passes", broken)
		}
	}
}

func brackets(list []word) error {
	closing := map[string]string{"(": ")", "@(": ")", "{": "}", "@{": "}", "[": "]"}
	var open []word
	for _, w := range list {
		if _, ok := closing[w.text]; ok {
			open = append(open, w)
		}
		if w.text == ")" || w.text == "}" || w.text == "]" {
			if len(open) == 0 || closing[open[len(open)-1].text] != w.text {
				return fmt.Errorf("line %d: %s closes nothing", w.line, w.text)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("line %d: %s is not closed", open[0].line, open[0].text)
	}
	return nil
}

func TestCommands(t *testing.T) {
	if wrong := commands(words(t, script(t, netboot.Options{Domain: "example.net"}))); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	for _, broken := range []string{
		"Add-DhcpServerv4Class -Name $n -Kind User @change", "Remove-Computer", "Set-DhcpServerv4OptionValue -OptionId 66 -Value $v",
	} {
		if len(commands(words(t, broken))) == 0 {
			t.Errorf("%q passes", broken)
		}
	}
}

// commands checks that every cmdlet and parameter is known, and that every cmdlet
// that changes the server gets -WhatIf.
func commands(list []word) []string {
	var wrong []string
	cmdlet := regexp.MustCompile(`^[A-Z][A-Za-z]+-[A-Z]\w+$`)
	operators := []string{"-notcontains", "-contains", "-not", "-eq", "-ne", "-gt", "-and"}
	for i, w := range list {
		if !cmdlet.MatchString(w.text) {
			continue
		}
		parameters, known := cmdlets()[w.text]
		if !known {
			wrong = append(wrong, fmt.Sprintf("line %d: %s is not known", w.line, w.text))
		}
		told := false
		for _, arg := range list[i+1:] {
			if arg.line != w.line || arg.text == "|" || arg.text == "}" {
				break
			}
			told = told || arg.text == "@change"
			if name, ok := strings.CutPrefix(arg.text, "-"); ok && !slices.Contains(parameters, name) && !slices.Contains(operators, arg.text) {
				wrong = append(wrong, fmt.Sprintf("line %d: %s has no parameter -%s", w.line, w.text, name))
			}
		}
		if verb, _, _ := strings.Cut(w.text, "-"); strings.Contains(w.text, "DhcpServer") && verb != "Get" && !told {
			wrong = append(wrong, fmt.Sprintf("line %d: %s changes the server without -WhatIf", w.line, w.text))
		}
	}
	return wrong
}

func TestVariablesAreSet(t *testing.T) {
	if wrong := variables(words(t, script(t, netboot.Options{}))); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	if len(variables(words(t, "$a = $b"))) == 0 {
		t.Error("an unknown variable passes")
	}
}

// variables returns the variables that are read before they are set, at which
// strict mode would stop the script.
func variables(list []word) []string {
	set := []string{"$_", "$true", "$false", "$WhatIfPreference", "$ErrorActionPreference"}
	var wrong []string
	for i, w := range list {
		name := w.text
		if splat, ok := strings.CutPrefix(name, "@"); ok && splat != "" && splat != "(" && splat != "{" {
			name = "$" + splat
		}
		if name[0] != '$' {
			continue
		}
		next := ""
		if i+1 < len(list) {
			next = list[i+1].text
		}
		if next == "=" || next == "in" {
			set = append(set, name)
		} else if !slices.Contains(set, name) {
			wrong = append(wrong, fmt.Sprintf("line %d: %s is not set", w.line, name))
		}
	}
	return wrong
}

// Every object has the properties that the loops read.
func TestProperties(t *testing.T) {
	text := script(t, netboot.Options{})
	for variable, want := range map[string]string{"$m": "Scope Name Mac Ip Router Dns Option43", "$k": "Name Data File Http", "$c": "Name Data"} {
		for _, m := range regexp.MustCompile(`\`+variable+`\.(\w+)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(strings.Fields(want), m[1]) {
				t.Errorf("%s.%s is no property", variable, m[1])
			}
		}
	}
}

// An option value of a reservation would override the policies.
func TestReservationsHaveNoBootOptions(t *testing.T) {
	for line := range strings.Lines(script(t, netboot.Options{})) {
		if strings.Contains(line, "-ReservedIP") && (strings.Contains(line, "-OptionId 66") || strings.Contains(line, "-OptionId 67")) {
			t.Error(line)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a": "'a'", "it's $x": "'it''s $x'", "http://192.0.2.9/${mac}/x": "'http://192.0.2.9/${mac}/x'"} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestGolden(t *testing.T) {
	nettest.GoldenRender(t, Server{}, nettest.Plan(t, netboot.Options{Domain: "example.net"}), netboot.Full)
}
