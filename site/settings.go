package site

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"hookbuild/internal/web"
)

// Setting is the value that a file gives an option of the command line or a
// variable of build.sh.
type Setting struct {
	Key  string // its path, such as kernel.version
	Line int
	// Flag is the option and Variable the variable; one of them may be empty.
	Flag, Variable string
	// Values are as the command line has them; several for a list.
	Values []string
	// Implied reports that the key means the option in addition to its own.
	Implied bool
}

// anyKey is the key of a mapping whose value stands for all other keys.
const anyKey = "any"

// Key describes a key of the file, whether or not a file has it.
type Key struct {
	Path, Flag, Variable string
}

// Keys returns every key that is not a section.
func Keys() []Key {
	var all []Key
	walk(reflect.ValueOf(Config{}), "", func(path string, f field, _ reflect.Value) {
		all = append(all, Key{path, f.flag, f.variable})
	})
	return all
}

// Settings returns the values that the file gives options and variables, with
// paths relative to the current directory. A key that says no where no is the
// default sets nothing.
func (f *File) Settings() []Setting {
	var all []Setting
	walk(reflect.ValueOf(f.Config), "", func(path string, of field, v reflect.Value) {
		if f.lines[path] == 0 || of.flag == "" && of.variable == "" {
			return
		}
		s := Setting{Key: path, Line: f.lines[path], Flag: of.flag, Variable: of.variable}
		if s.Values = f.values(of, v); len(s.Values) > 0 {
			all = append(all, s)
		}
	})
	return append(all, f.impliedBundle()...)
}

// impliedBundle returns the setting of embed.from-bundle where only other keys
// say that a bundle is wanted.
func (f *File) impliedBundle() []Setting {
	if f.lines["embed.from-bundle"] > 0 {
		return nil
	}
	for _, key := range []string{"embed.cluster", "embed.bundle", "embed.eksa-version"} {
		if line := f.lines[key]; line > 0 {
			return []Setting{{Key: key, Line: line, Flag: "embed-from-bundle", Values: []string{"true"}, Implied: true}}
		}
	}
	return nil
}

// values returns the value of a key in the form of the command line.
func (f *File) values(of field, v reflect.Value) []string {
	switch v.Kind() {
	case reflect.Pointer:
		return []string{strconv.FormatBool(v.Elem().Bool())}
	case reflect.Bool:
		if !v.Bool() {
			return nil
		}
		return []string{"true"}
	case reflect.Int:
		return []string{strconv.FormatInt(v.Int(), 10)}
	case reflect.Map:
		var all []string
		for _, key := range of.keyNames() {
			value := v.MapIndex(reflect.ValueOf(key))
			switch {
			case !value.IsValid():
			case key == anyKey:
				all = append(all, value.String())
			default:
				all = append(all, key+"="+value.String())
			}
		}
		return all
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, f.entry(of, v.Index(i)))
		}
		return all
	}
	return []string{f.place(of.path, v.String())}
}

// entry returns an entry of a list in the form of the command line.
func (f *File) entry(of field, v reflect.Value) string {
	switch e := v.Interface().(type) {
	case Option:
		return e.Set
	case Fragment:
		return f.place("file", e.File)
	case Patch:
		return f.place("file", e.File)
	case Image:
		if e.Name == "" {
			return f.place("place", e.Source)
		}
		return f.place("place", e.Source) + "=" + e.Name
	case Mirror:
		return e.From + "=" + e.To
	case string:
		return f.place(of.path, e)
	}
	panic(fmt.Sprintf("the entries of %s have no form for the command line", of.name))
}

// place returns a value whose paths are relative to the file with paths relative
// to the current directory. Kind is the tag path of its key.
func (f *File) place(kind, value string) string { return mapPaths(kind, value, f.path) }

// mapPaths returns a value with each path in it replaced by what to returns for it.
func mapPaths(kind, value string, to func(string) string) string {
	if kind == "module" {
		parts := strings.Split(value, ",")
		for i, part := range parts {
			if patch, ok := strings.CutPrefix(part, "patch="); ok {
				parts[i] = "patch=" + mapPaths("file", patch, to)
			}
		}
		parts[0] = mapPaths("file", parts[0], to)
		return strings.Join(parts, ",")
	}
	if kind == "" || web.IsURL(value) {
		return value
	}
	scheme, rest, found := strings.Cut(value, ":")
	switch {
	case found && scheme == "image":
		return "image:" + mapPaths("place", rest, to)
	case found && scheme == "dir":
		return "dir:" + to(rest)
	case found && slices.Contains([]string{"oci", "oci-archive", "docker-archive"}, scheme):
		path, _, _ := strings.Cut(rest, ":")
		return scheme + ":" + to(path) + rest[len(path):]
	case found && scheme == "deb":
		packages := strings.Split(rest, ",")
		for i, one := range packages {
			packages[i] = mapPaths("file", one, to)
		}
		return "deb:" + strings.Join(packages, ",")
	case kind == "place" && !strings.HasPrefix(value, "./") && !strings.HasPrefix(value, "../") && !strings.HasPrefix(value, "/"):
		return value
	}
	return to(value)
}

// path returns a path of the file relative to the current directory.
func (f *File) path(p string) string {
	if filepath.IsAbs(p) || f.Dir == "." {
		return p
	}
	joined := filepath.Join(f.Dir, p)
	if strings.HasSuffix(p, "/") {
		joined += "/"
	}
	return joined
}

// MapPaths returns the value of an option of the command line with each path in it
// replaced by what to returns for it. A value of an option without paths, a URL and
// an image's reference stay as they are.
func MapPaths(flag, value string, to func(path string) string) string {
	switch flag {
	case "yaml": // an option that is not a key
		return mapPaths("file", value, to)
	case "image":
		source, name, named := strings.Cut(value, "=")
		if value = mapPaths("place", source, to); named {
			value += "=" + name
		}
		return value
	case "fragment":
		return mapPaths("file", value, to)
	}
	kind := ""
	walk(reflect.ValueOf(Config{}), "", func(_ string, f field, _ reflect.Value) {
		if f.flag == flag {
			kind = f.path
		}
	})
	return mapPaths(kind, value, to)
}

// Archive returns the archive of the checkout, relative to the current directory;
// "" if the file names none.
func (f *File) Archive() string {
	if f.Hook.Archive == "" {
		return ""
	}
	return f.place("file", f.Hook.Archive)
}
