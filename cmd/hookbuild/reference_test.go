package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReferenceExitCodes compares the table of exit codes in docs/reference.md,
// and README.md's list, with the kinds of internal/fault.
func TestReferenceExitCodes(t *testing.T) {
	want := append(faultCodes(t), "0", strconv.Itoa(exitInterrupted))
	slices.Sort(want)
	codes := tableColumn(t, "../../docs/reference.md", "code")
	slices.Sort(codes)
	if !slices.Equal(codes, want) {
		t.Errorf("docs/reference.md has the exit codes %q, and hookbuild %q", codes, want)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	sentence := regexp.MustCompile(`(?s)The exit code is .*?\.`).FindString(string(readme))
	listed := regexp.MustCompile(`\d+`).FindAllString(sentence, -1)
	slices.Sort(listed)
	if !slices.Equal(listed, want) {
		t.Errorf("README.md has the exit codes %q, and hookbuild %q", listed, want)
	}
}

// faultCodes returns the values of the constants of the type fault.Kind.
func faultCodes(t *testing.T) (codes []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../internal/fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
			for _, v := range spec.Values {
				codes = append(codes, v.(*ast.BasicLit).Value)
			}
		}
		return true
	})
	if len(codes) < 4 {
		t.Fatalf("fault.Kind has only the constants %q", codes)
	}
	return codes
}

// TestReferenceVariables compares the environment variables in the tables of
// docs/reference.md with those that the code reads.
func TestReferenceVariables(t *testing.T) {
	read := variablesRead(t)
	listed := tableColumn(t, "../../docs/reference.md", "variable")
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/reference.md lacks %s, which %s reads", name, read[name])
		}
	}
	for i, name := range listed {
		if read[name] == "" {
			t.Errorf("docs/reference.md has %s, which no code reads", name)
		}
		if slices.Contains(listed[:i], name) {
			t.Errorf("docs/reference.md has %s twice", name)
		}
	}
	for _, name := range knownVariables() {
		if read[name] == "" {
			t.Errorf("%s is accepted as KEY=VALUE, but no code reads it", name)
		}
	}
	for _, name := range listed {
		isKnown := slices.Contains(knownVariables(), name) || name == runnerPrefix+"*"
		if isKnown == slices.Contains(environmentVariables(), name) {
			t.Errorf("%s must be either an argument or of the environment only", name)
		}
	}
}

// TestBuildShWords checks the tables of docs/from-build-sh.md: each word of
// build.sh is a name of the command beside it, and all variables are listed.
func TestBuildShWords(t *testing.T) {
	const page = "../../docs/from-build-sh.md"
	root := newRootCommand(&app{})
	words := tableRows(t, page, "build.sh's command")
	if len(words) < 6 {
		t.Errorf("%s has only %d commands", page, len(words))
	}
	span := regexp.MustCompile("`([^`]+)`")
	for _, row := range words {
		for _, m := range span.FindAllStringSubmatch(row[0], -1) {
			c := root.Command(m[1])
			if ours := span.FindStringSubmatch(row[1]); ours == nil {
				if c != nil {
					t.Errorf("%s: %s has nothing beside it, but is a command", page, m[1])
				}
			} else if c == nil || c.Name != strings.Fields(ours[1])[1] {
				t.Errorf("%s: %s is not a name of `%s`", page, m[1], ours[1])
			}
		}
	}
	listed := tableColumn(t, page, "build.sh's variable")
	for _, name := range knownVariables() {
		if !slices.Contains(listed, name) && name != "SOURCE_DATE_EPOCH" {
			t.Errorf("%s lacks %s", page, name)
		}
	}
}

// TestReferenceMemory compares the default of GOMEMLIMIT with the code.
func TestReferenceMemory(t *testing.T) {
	want := fmt.Sprintf("by default %d MiB", memoryTarget>>20)
	for _, row := range tableRows(t, "../../docs/reference.md", "variable") {
		if row[0] == "`GOMEMLIMIT`" {
			if !strings.HasSuffix(row[1], want) {
				t.Errorf("docs/reference.md says %q, want %q", row[1], want)
			}
			return
		}
	}
	t.Error("docs/reference.md lacks GOMEMLIMIT")
}

// tableRows returns the cells of the rows of all tables of a page whose first
// column has the given title.
func tableRows(t *testing.T, page, title string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| ") {
			inside = inside && strings.HasPrefix(line, "|-")
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if inside {
			rows = append(rows, cells)
		}
		inside = inside || cells[0] == title
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table whose first column is %q", page, title)
	}
	return rows
}

// tableColumn returns the code spans of the first column of such tables, or
// their texts where there are none.
func tableColumn(t *testing.T, page, title string) (found []string) {
	t.Helper()
	for _, row := range tableRows(t, page, title) {
		for _, word := range strings.Split(row[0], ", ") {
			found = append(found, strings.Trim(word, "`"))
		}
	}
	return found
}

// variablesRead maps each environment variable that hookbuild reads to a place
// that reads it. A name that ends in * is a prefix.
func variablesRead(t *testing.T) map[string]string {
	t.Helper()
	read := map[string]string{}
	files := token.NewFileSet()
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"test", "bench", "tools", "testdata", ".git", ".demo"}, path.Base(name)) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, "../../"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" && path.Dir(name) != "cmd/hookbuild" {
			return nil
		}
		for _, v := range variablesOfFile(t, files, file) {
			read[v] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(read) < 50 {
		t.Fatalf("only %d variables were found", len(read))
	}
	return read
}

// readers maps the functions that take the name of a variable to the index of
// that argument.
func readers() map[string]int {
	return map[string]int{
		"getenv": 0, "Getenv": 0, "LookupEnv": 0, "env": 0, "variable": 0, "given": 0, "switchedOn": 0,
		"siteVariable": 0, "variablePath": 1, "flagOr": 2,
	}
}

// behind maps functions and constants of other modules to the variables that they
// read or name.
func behind() map[string][]string {
	return map[string][]string{
		"os.UserCacheDir":             {"XDG_CACHE_HOME", "HOME"},
		"os.UserHomeDir":              {"HOME"},
		"os.TempDir":                  {"TMPDIR"},
		"os.MkdirTemp":                {"TMPDIR"},
		"exec.LookPath":               {"PATH"},
		"http.ProxyFromEnvironment":   {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"},
		"x509.SystemCertPool":         {"SSL_CERT_FILE", "SSL_CERT_DIR"},
		"authn.DefaultKeychain":       {"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"},
		"config.EnvOverrideConfigDir": {"DOCKER_CONFIG"},
		"config.Dir":                  {"DOCKER_CONFIG", "HOME"},
		"config.Load":                 {"DOCKER_AUTH_CONFIG"},
		"client.EnvOverrideHost":      {"DOCKER_HOST"},
		"client.EnvOverrideCertPath":  {"DOCKER_CERT_PATH"},
		"client.EnvTLSVerify":         {"DOCKER_TLS_VERIFY"},
	}
}

var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)

// variablesOfFile returns the variables that a file reads. An argument that is
// neither a name, nor known to behind, nor handed on, is an error.
func variablesOfFile(t *testing.T, files *token.FileSet, file *ast.File) (found []string) {
	t.Helper()
	at, other := readers(), behind()
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				found = append(found, other[x.Name+"."+n.Sel.Name]...)
			}
		case *ast.Field:
			if n.Tag != nil {
				tag, err := strconv.Unquote(n.Tag.Value)
				if v := reflect.StructTag(tag).Get("variable"); err == nil && v != "" {
					found = append(found, v)
				}
			}
		case *ast.CallExpr:
			i, ok := at[calledName(n)]
			if !ok || i >= len(n.Args) {
				return true
			}
			name, err := variableOf(n.Args[i], other)
			if err != nil {
				t.Errorf("%s: %v; TestReferenceVariables cannot tell which variable is read", files.Position(n.Pos()), err)
			}
			if name != "" {
				found = append(found, name)
			}
		}
		return true
	})
	return found
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// variableOf returns the name of a variable in an argument: text, text that
// begins a sum (with a * after it), or "" for names that callers hand on.
func variableOf(arg ast.Expr, other map[string][]string) (string, error) {
	switch arg := arg.(type) {
	case *ast.BasicLit:
		name, err := strconv.Unquote(arg.Value)
		if err != nil || !variableName.MatchString(name) {
			return "", err // another function of the same name
		}
		return name, nil
	case *ast.BinaryExpr:
		name, err := variableOf(arg.X, other)
		return name + "*", err
	case *ast.SelectorExpr:
		if x, ok := arg.X.(*ast.Ident); ok && other[x.Name+"."+arg.Sel.Name] != nil || arg.Sel.Name == "Variable" {
			return "", nil
		}
	case *ast.CallExpr, *ast.StarExpr, *ast.IndexExpr:
		return "", nil
	case *ast.Ident:
		if slices.Contains([]string{"name", "variable"}, arg.Name) {
			return "", nil
		}
	}
	return "", fmt.Errorf("the name is %T", arg)
}
