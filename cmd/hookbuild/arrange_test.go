package main

import (
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
		{"an alias", []string{"build", "f"}, []string{"build", "--", "f"}, nil},
		{"an unknown command", []string{"bulid", "f"}, []string{"--", "bulid", "f"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &app{}
			got, variables, err := arrange(newRootCommand(a), test.args)
			if err != nil {
				t.Fatal(err)
			}
			if test.variables == nil {
				test.variables = map[string]string{}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.variables, variables); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestArrangeWantsValues(t *testing.T) {
	if _, _, err := arrange(newRootCommand(&app{}), []string{"all", "--out"}); err == nil {
		t.Error("a flag without its value was taken")
	}
}
