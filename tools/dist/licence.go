package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// component is something linked into the program, with its licence.
type component struct {
	path, version, sum string // sum as in go.sum
	licence            string // SPDX identifier
	files              []entry
}

// modulesOf returns the Go standard library and the modules that were linked
// into a program, in the order of their paths.
func modulesOf(ctx context.Context, info *debug.BuildInfo) ([]component, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("finding Go's own licence: %w%s", err, stderrOf(err))
	}
	std, err := newComponent("std", strings.TrimPrefix(info.GoVersion, "go"), "", strings.TrimSpace(string(root)))
	if err != nil {
		return nil, err
	}
	all := []component{std}
	args := []string{"mod", "download", "-json"}
	sums := map[string]string{}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		args = append(args, m.Path+"@"+m.Version)
		sums[m.Path] = m.Sum
	}
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("finding the modules' sources: %w%s", err, stderrOf(err))
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Sum, Dir string }
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading where the modules' sources are: %w", err)
		}
		if m.Sum != sums[m.Path] {
			return nil, fmt.Errorf("the module cache has %s@%s with the sum %s, but the program was linked with %s", m.Path, m.Version, m.Sum, sums[m.Path])
		}
		c, err := newComponent(m.Path, m.Version, m.Sum, m.Dir)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) != len(info.Deps)+1 {
		return nil, fmt.Errorf("go mod download knows %d of the %d modules in the program", len(all)-1, len(info.Deps))
	}
	slices.SortFunc(all, func(a, b component) int { return strings.Compare(a.path, b.path) })
	return all, nil
}

// legal matches the names of the files that a licence asks to pass on.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([.-].*)?$`)

func newComponent(path, version, sum, dir string) (component, error) {
	c := component{path: path, version: version, sum: sum}
	names, err := os.ReadDir(dir)
	if err != nil {
		return c, fmt.Errorf("looking for the licence of %s: %w", path, err)
	}
	for _, f := range names {
		if !f.Type().IsRegular() || !legal.MatchString(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return c, fmt.Errorf("reading the licence of %s: %w", path, err)
		}
		c.files = append(c.files, entry{name: "licences/" + path + "/" + f.Name(), mode: 0o644, content: text})
		if c.licence == "" {
			c.licence = identify(text)
		}
	}
	if len(c.files) == 0 {
		return c, fmt.Errorf("%s@%s has no licence file, so it cannot be released", path, version)
	}
	if c.licence == "" {
		return c, fmt.Errorf("the licence of %s@%s is not one that dist recognises; read it, and add its words to tools/dist/licence.go if it may be released", path, version)
	}
	return c, nil
}

// known lists words that only one licence has, the more specific ones first.
var known = []struct {
	id    string
	words []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0, January 2004"}},
	{"MPL-2.0", []string{"Mozilla Public License Version 2.0"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "endorse or promote products derived from this software"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms", "this list of conditions"}},
	{"MIT", []string{"Permission is hereby granted, free of charge", "The above copyright notice and this permission notice"}},
	{"ISC", []string{"Permission to use, copy, modify, and", "provided that the above copyright notice"}},
	{"0BSD", []string{"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted."}},
	{"CC0-1.0", []string{"CC0 1.0 Universal"}},
}

// identify returns the SPDX identifier of a licence's text, or "".
func identify(text []byte) string {
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, k := range known {
		if !slices.ContainsFunc(k.words, func(w string) bool { return !strings.Contains(words, w) }) {
			return k.id
		}
	}
	return ""
}

// licences returns the texts of all components, and a table of them.
func licences(all []component) []entry {
	var table strings.Builder
	table.WriteString("hookbuild contains the following, each under its own licence; the texts are in the\ndirectories beside this file.\n\n")
	var files []entry
	for _, c := range all {
		fmt.Fprintf(&table, "%-14s %s %s\n", c.licence, c.path, c.version)
		files = append(files, c.files...)
	}
	return append(files, entry{name: "licences/README", mode: 0o644, content: []byte(table.String())})
}
