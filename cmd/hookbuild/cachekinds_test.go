package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCacheKinds holds the kinds of files that the program puts into the cache to those
// that are explained, in the help and in docs/reference.md.
func TestCacheKinds(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, k := range cacheKinds() {
		explained = append(explained, k.name)
		if want := "| `" + k.name + "` | " + k.what + " |"; !strings.Contains(string(page), want) {
			t.Errorf("docs/reference.md lacks %s", want)
		}
	}
	used := append(kindsInSource(t), "hook", "kit") // which are written without the cache's methods
	slices.Sort(used)
	if !slices.Equal(used, explained) {
		t.Errorf("the kinds in the source are %q, those that are explained %q", used, explained)
	}
}

// kindsInSource returns the kinds with which the source calls the cache, sorted: words
// and constants that are the kind of one of its methods.
func kindsInSource(t *testing.T) []string {
	t.Helper()
	place := map[string]int{ // of the argument
		"Note": 0, "SetNote": 0, "Keys": 0, "Blob": 1, "PutBlob": 1, "Derived": 1, "Shared": 1,
		"keep": 1, "small": 1, // package oci's own
	}
	constants, calls := map[string]string{}, map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		pkg := file.Name.Name
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, value := range n.Values {
					if _, ok := value.(*ast.BasicLit); ok {
						constants[pkg+"."+n.Names[i].Name] = nameOf(pkg, value)
					}
				}
			case *ast.CallExpr:
				method, ok := n.Fun.(*ast.SelectorExpr)
				if !ok {
					break
				}
				if at, ok := place[method.Sel.Name]; ok && at < len(n.Args) {
					calls[nameOf(pkg, n.Args[at])] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for name := range calls {
		if text, ok := constants[name]; ok {
			name = text
		}
		if regexp.MustCompile(`^[a-z-]+$`).MatchString(name) {
			kinds[name] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// nameOf returns the text of a string, or the name of a constant with its package.
func nameOf(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.Ident:
		return pkg + "." + e.Name
	case *ast.SelectorExpr:
		if from, ok := e.X.(*ast.Ident); ok {
			return from.Name + "." + e.Sel.Name
		}
	}
	return ""
}
