// Package hookbuild_test holds what is true of the module as a whole.
package hookbuild_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each room, the rooms of this module that it may use.
// Arrows run downwards only; a room covers the packages below it, and a name
// that ends in a slash stands for every room below it. A package that no room
// covers fails the test.
var mayImport = map[string][]string{
	"internal/progress":   {},
	"internal/fault":      {},
	"internal/nearest":    {},
	"internal/ctxio":      {},
	"internal/digest":     {"internal/ctxio"},
	"internal/atomicfile": {"internal/fault"},
	"internal/words":      {},
	"internal/filetype":   {},
	"internal/bounded":    {},
	"internal/linediff":   {},
	"internal/initramfs":  {"internal/filetype", "internal/progress", "internal/fault"},
	"internal/squashfs":   {"internal/initramfs", "internal/progress", "internal/fault"},
	"internal/cache":      {"internal/atomicfile", "internal/ctxio", "internal/progress", "internal/fault"},
	"internal/web":        {"internal/atomicfile", "internal/progress", "internal/fault"},
	"internal/trust":      {"internal/bounded", "internal/fault"},
	"internal/fetch":      {"internal/web", "internal/cache", "internal/digest", "internal/progress", "internal/fault"},
	"internal/tarball":    {"internal/filetype", "internal/initramfs", "internal/progress", "internal/fault"},
	"internal/unpack":     {"internal/atomicfile", "internal/initramfs", "internal/progress"},
	"internal/dockerhost": {"internal/web", "internal/fault"},
	"internal/engine":     {"internal/dockerhost", "internal/progress", "internal/fault"},
	"internal/oci":        {"internal/web", "internal/words", "internal/dockerhost", "internal/cache", "internal/filetype", "internal/tarball", "internal/initramfs", "internal/progress", "internal/fault"},
	"internal/shared":     {"internal/oci", "internal/cache", "internal/initramfs", "internal/words", "internal/progress", "internal/fault"},
	"bundles":             {"internal/"},
	"kernel":              {"internal/"},
	"linuxkit":            {"internal/"},
	"embed":               {"internal/"},
	"serve":               {"internal/web", "internal/bounded", "internal/ctxio", "internal/fault", "internal/words"},
	"netboot":             {"serve", "internal/ctxio", "internal/filetype", "internal/progress", "internal/fault", "internal/words"},
	"doctor":              {"machine", "internal/"},
	"machine":             {"linuxkit/iso", "internal/fault", "internal/words"},
	"site":                {"site/profile", "internal/"},
	"site/lock":           {"internal/"},
	"site/kit":            {"site/lock", "internal/"},
	"site/profile":        {"linuxkit", "internal/"},
	"build":               {"site/lock", "site/kit", "site/profile", "bundles", "kernel", "linuxkit", "embed", "internal/"},
	"cmd/hookbuild/face":  {"internal/progress", "internal/words"},
	"cmd/hookbuild":       {"site", "doctor", "build", "bundles", "kernel", "linuxkit", "embed", "netboot", "serve", "machine", "internal/"},
	"tools":               {"internal/"},
	"cmd/hookdemo":        {"test/", "build", "bundles", "kernel", "linuxkit", "embed", "netboot", "serve", "machine", "internal/"},
	"bench":               {"test/", "build", "bundles", "kernel", "linuxkit", "embed", "netboot", "serve", "machine", "internal/"},
	"test":                {"build", "bundles", "kernel", "linuxkit", "embed", "netboot", "serve", "machine", "internal/"},
}

const module = "hookbuild/"

func TestArrowsRunDownwards(t *testing.T) {
	for path, imports := range packages(t) {
		room, allowed := roomOf(path)
		if room == "" {
			t.Errorf("%s is in no room: list it in mayImport with what it may import", path)
			continue
		}
		for _, imported := range imports {
			name, ours := strings.CutPrefix(imported, module)
			if !ours || within(name, room) {
				continue
			}
			if !withinAny(name, allowed) {
				t.Errorf("%s imports %s; %s may import only %v", path, name, room, allowed)
			}
		}
	}
}

// TestProductUsesNoTests holds every room that a user gets, listed or not, to
// packages that a user gets.
func TestProductUsesNoTests(t *testing.T) {
	users := []string{"test", "bench", "cmd/hookdemo"} // measure and demonstrate
	used := 0
	for path, imports := range packages(t) {
		for _, imported := range imports {
			switch name := strings.TrimPrefix(imported, module); {
			case !within(name, "test"):
			case withinAny(path, users):
				used++
			default:
				t.Errorf("%s imports %s: what only tests use stays out of the product", path, name)
			}
		}
	}
	if used == 0 {
		t.Error("nothing uses test/: nothing was looked at")
	}
	for room, allowed := range mayImport {
		if !withinAny(room, users) && (withinAny("test", allowed) || withinAny("test/lab", allowed)) {
			t.Errorf("mayImport lets %s import test/", room)
		}
	}
}

// roomOf returns the innermost room that covers the package.
func roomOf(path string) (string, []string) {
	var found string
	for room := range mayImport {
		if within(path, room) && len(room) > len(found) {
			found = room
		}
	}
	return found, mayImport[found]
}

func withinAny(path string, rooms []string) bool {
	for _, room := range rooms {
		if strings.HasSuffix(room, "/") && strings.HasPrefix(path, room) || within(path, room) {
			return true
		}
	}
	return false
}

func within(path, room string) bool {
	return path == room || strings.HasPrefix(path, room+"/")
}

// packages maps the module's packages, without the module's name, to what
// their non-test files import. The module's root holds tests only.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if name, inside := strings.CutPrefix(p.ImportPath, module); inside {
			found[name] = p.Imports
		}
	}
	if len(found) < len(mayImport) {
		t.Fatalf("only %d packages found", len(found))
	}
	return found
}

// TestOneHTTPClient keeps clients of the standard library to internal/web: they
// have no time limits and follow redirects anywhere.
func TestOneHTTPClient(t *testing.T) {
	client := regexp.MustCompile(`\bhttp\.(Client\{|DefaultClient|DefaultTransport|Transport\{|(Get|Head|Post|PostForm)\()`)
	if !client.MatchString("c := &http.Client{}") || !client.MatchString("http.Get(url)") || client.MatchString("http.Server{}") {
		t.Fatal("the pattern is wrong")
	}
	found := 0
	for _, file := range productFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := client.FindAllString(string(text), -1)
		if found += len(all); len(all) > 0 && filepath.Dir(file) != filepath.Join("internal", "web") {
			t.Errorf("%s uses %q: make requests with internal/web", file, all)
		}
	}
	if found == 0 {
		t.Error("not even internal/web has a client: nothing was looked at")
	}
}

// productFiles lists the module's Go files without tests, and without what only
// tests, demonstrations and measurements use.
func productFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains([]string{"test", "bench", "testdata", "cmd/hookdemo", "out"}, path) || path != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mayPrint lists the files outside of cmd that name a standard stream or a
// logger, with the reason.
var mayPrint = map[string]string{
	"internal/atomicfile/atomicfile.go": "standard output is a file that -o - names",
	"internal/engine/session.go":        "drops what the standard library's HTTP server logs",
	"serve/serve.go":                    "hands what the standard library's HTTP server logs to its caller",
	"tools/dist/main.go":                "a program of its own",
	"kernel/devices/gen/main.go":        "a program of its own",
}

// TestOnlyCmdPrints keeps printing, logging and the standard streams to cmd:
// packages report by package progress, and return what they found.
func TestOnlyCmdPrints(t *testing.T) {
	const sample = "package p\nimport (\"fmt\"; l \"log\"; \"os\")\nfunc f() { fmt.Println(); l.Print(os.Stderr); println(); fmt.Sprint(); os.Getenv(os.Args[0]) }"
	if got := strings.Join(prints(t, "sample.go", sample), " "); got != "fmt.Println log.Print os.Stderr println" {
		t.Fatalf("the scan is wrong: it finds %s", got)
	}
	used := map[string]bool{}
	for _, file := range productFiles(t) {
		if strings.HasPrefix(file, "cmd/") || strings.Contains(file, "/testdata/") {
			continue
		}
		found := prints(t, file, nil)
		if mayPrint[file] != "" {
			used[file] = len(found) > 0
			continue
		}
		if len(found) > 0 {
			t.Errorf("%s uses %s: report by internal/progress, or return it to cmd", file, strings.Join(found, ", "))
		}
	}
	for file := range mayPrint {
		if !used[file] {
			t.Errorf("%s does not print: remove it from mayPrint", file)
		}
	}
}

// prints lists, in their order, what a file uses to print.
func prints(t *testing.T, path string, text any) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]string{} // by the name in the file
	for _, spec := range file.Imports {
		name := strings.Trim(spec.Path.Value, `"`)
		local := filepath.Base(name)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		imported[local] = name
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
				found = append(found, f.Name)
			}
		case *ast.SelectorExpr:
			of, ok := n.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch used := imported[of.Name] + "." + n.Sel.Name; {
			case slices.Contains([]string{"fmt.Print", "fmt.Printf", "fmt.Println", "os.Stdout", "os.Stderr"}, used),
				strings.HasPrefix(used, "log."), strings.HasPrefix(used, "log/slog."):
				found = append(found, used)
			}
		}
		return true
	})
	return found
}
