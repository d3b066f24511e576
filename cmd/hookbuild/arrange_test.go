package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArrange(t *testing.T) {
	tests := []struct {
		name      string
		args      []string
		want      []string
		variables map[string]string
	}{
		{"flags after the flavor", []string{"all", "hook-default-amd64", "--out", "o", "--kernel", "deb:k.deb"},
			[]string{"--out", "o", "all", "--kernel", "deb:k.deb", "--", "hook-default-amd64"}, nil},
		{"variables anywhere", []string{"FORCE_OUTPUT_ID=x", "linuxkit", "A=b=c", "hook-default-amd64"},
			[]string{"linuxkit", "--", "hook-default-amd64"}, map[string]string{"FORCE_OUTPUT_ID": "x", "A": "b=c"}},
		{"joined values", []string{"all", "--mirror=a=b", "--no-worker"},
			[]string{"--mirror=a=b", "all", "--no-worker"}, nil},
		{"a value that looks like a variable", []string{"embed", "--image", "X=y"},
			[]string{"embed", "--image", "X=y"}, nil},
		{"after a double dash all is an argument", []string{"all", "--", "--out", "A=b"},
			[]string{"all", "--", "--out", "A=b"}, nil},
		{"an alias", []string{"build", "f"}, []string{"linuxkit", "--", "f"}, nil},
		{"an empty word for a flavor", []string{"all", "", "f", "--out", ""}, []string{"--out", "", "all", "--", "f"}, nil},
		{"an empty word for a file", []string{"inspect", ""}, []string{"inspect", "--", ""}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &app{}
			line, err := arrange(newRootCommand(a), test.args)
			if err != nil {
				t.Fatal(err)
			}
			if test.variables == nil {
				test.variables = map[string]string{}
			}
			if diff := cmp.Diff(test.want, line.sorted); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.variables, line.variables); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A line without a command, or with half of one, is a question for help.
func TestArrangeWithoutACommand(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"-h", "DEBUG=yes"}, {"--version"}, {"-v"}, {"kit"}, {"kit", "--help"}} {
		if _, err := arrange(newRootCommand(&app{}), args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no value":             {[]string{"all", "--out"}, "--out needs a value"},
		"no short's value":     {[]string{"embed", "-o"}, "-o needs a value"},
		"unknown short option": {[]string{"schema", "-o", "x.json"}, "schema has no option -o;"},
		"mistyped command":     {[]string{"bulid", "f"}, "did you mean `hookbuild build`?"},
		"unknown command":      {[]string{"frobnicate"}, "`hookbuild --help` lists them"},
		"mistyped subcommand":  {[]string{"dhcp", "dnsmaq"}, "did you mean `hookbuild dhcp dnsmasq`?"},
		"mistyped option":      {[]string{"all", "--embed-form-bundle"}, "did you mean --embed-from-bundle?"},
		"unknown option":       {[]string{"all", "--frobnicate"}, "`hookbuild all --help` lists the options"},
		"an alias's option":    {[]string{"build", "--images-file", "F"}, "build has no option --images-file, because it embeds no images; `hookbuild all --images-file` does"},
		"another's option":     {[]string{"verify", "--kernel", "latest"}, "verify has no option --kernel"},
		"the version's":        {[]string{"all", "--version"}, "all has no option --version; `hookbuild all --help` lists the options"},
		"the version's, short": {[]string{"cache", "prune", "-v"}, "cache prune has no option -v;"},
		"only a variable":      {[]string{"HOOK_VERSION=1", "DEBUG=yes"}, "`hookbuild build DEBUG=yes HOOK_VERSION=1`"},
		"only an option":       {[]string{"--arch", "arm64"}, "no command is named"},
		"only a subcommand's":  {[]string{"kit", "DEBUG=yes"}, "hookbuild kit needs one of its commands: save, load"},
		"option of no command": {[]string{"--embed-from-bundle"}, "there is no option --embed-from-bundle without a command"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := arrange(newRootCommand(&app{}), test.args)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
