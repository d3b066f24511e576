package template

import (
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"HOOK_VERSION": "1.2.3", "HOOK_KERNEL_IMAGE": "reg/k:1", "SHELL_TEXT": ""}
	tests := []struct{ name, in, want, wantErr string }{
		{"both forms", "a: ${HOOK_VERSION} $HOOK_VERSION\n", "a: 1.2.3 1.2.3\n", ""},
		{"longest name wins", "a: ${HOME_X} $PATH\n", "a: ${HOME_X} $PATH\n", ""},
		{"shell text stays", "x: $1 ${1} $$ ${A:-b} $(id) ${\n", "x: $1 ${1} $$ ${A:-b} $(id) ${\n", ""},
		{"value is not expanded again", "a: $SHELL_TEXT|\n", "a: |\n", ""},
		{"no newline at the end", "$HOOK_VERSION", "1.2.3", ""},
		{"CRLF stays", "$HOOK_VERSION\r\n", "1.2.3\r\n", ""},
		{"left over", "ok: 1\nb: ${HOOK_CONTAINER_X_IMAGE}\n", "", "line 2: the variable HOOK_CONTAINER_X_IMAGE has no value"},
		{"left over beside a filled one", "b: ${HOOK_VERSION} ${HOOK_VERSION:-1}\n", "", "line 1: the variable HOOK_VERSION"},
		{"longer name is another", "b: $HOOK_VERSION_X\n", "", "HOOK_VERSION_X"},
		{"left over in a comment", "  # - ${HOOK_NEW}: ${HOOK_VERSION}\n", "  # - ${HOOK_NEW}: 1.2.3\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Expand([]byte(tt.in), vars)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("Expand(%q) = %v; want an error with %q", tt.in, err, tt.wantErr)
				}
				if fault.KindOf(err) != fault.Invalid {
					t.Errorf("the error is of kind %d, want Invalid", fault.KindOf(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("Expand(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestExpandRefusesValues(t *testing.T) {
	for _, tt := range []struct{ value, line, want string }{
		{"", "a: $HOOK_X", "empty"},
		{"one\ntwo", "a: $HOOK_X", "more than one line"},
		{"one\ntwo", "# $HOOK_X", "more than one line"},
	} {
		_, err := Expand([]byte(tt.line), map[string]string{"HOOK_X": tt.value})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Expand(%q) with %q = %v; want an error with %q", tt.line, tt.value, err, tt.want)
		}
	}
	if got, err := Expand([]byte("# $HOOK_X"), map[string]string{"HOOK_X": ""}); err != nil || string(got) != "# " {
		t.Errorf("an empty value in a comment: %q, %v", got, err)
	}
}

func TestExpandBound(t *testing.T) {
	if _, err := Expand(make([]byte, maxSize+1), nil); err == nil {
		t.Error("a template over the limit was taken")
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("a: ${HOOK_VERSION} $X ${Y:-z}\n# $HOOK_Z\n", "v")
	f.Fuzz(func(t *testing.T, in, value string) {
		out, err := Expand([]byte(in), map[string]string{"HOOK_VERSION": value})
		if err != nil {
			return
		}
		if strings.Count(string(out), "\n") != strings.Count(in, "\n") {
			t.Errorf("Expand(%q) changed the number of lines: %q", in, out)
		}
	})
}
