// Package driver opens the sources of modules that are not part of the kernel's
// own source: a vendor's driver, a DKMS tree or one of Debian's -dkms packages,
// or any directory with a Makefile or a Kbuild file. It finds out how the source
// wants to be built and identifies all that goes into the build. Package
// container builds it.
//
// It does not run or evaluate any file of a source on purpose: Makefiles and
// dkms.conf are programs, which run in the container only.
package driver

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// Spec is a module source as a user names it.
type Spec struct {
	// Source is a directory, a tar archive, a Debian package, or the URL of an
	// archive or package, which may carry its checksum (URL#sha256=HEX).
	Source string
	// SHA256 is the checksum of an archive or package in hex; empty checks
	// nothing.
	SHA256 string
	// Name is how messages, logs and the modules' directory call the source;
	// empty means the name that the source or its file has.
	Name string
	// Dir is the directory below the source's top that is built; empty means
	// the top, or src if only that has a Makefile.
	Dir string
	// Make holds further arguments of make: VARIABLE=VALUE, or the target to
	// build.
	Make []string
	// Patches are files that are applied to the source, in order.
	Patches []string
}

// ParseSpec reads the form that the command line has:
//
//	SOURCE[,name=NAME][,dir=DIR][,sha256=HEX][,make=ARGUMENT]...[,patch=FILE]...
//
// A comma that none of these words follows belongs to the text before it.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	starts := regexp.MustCompile(`,(name|dir|sha256|make|patch)=`).FindAllStringIndex(text, -1)
	end := func(i int) int { // of the text before the word i
		if i < len(starts) {
			return starts[i][0]
		}
		return len(text)
	}
	s.Source = text[:end(0)]
	for i, start := range starts {
		key, value, _ := strings.Cut(text[start[0]+1:end(i+1)], "=")
		if value == "" {
			return s, fault.Usagef("reading the module source %q: %s= has no value", web.Show(s.Source), key)
		}
		switch key {
		case "name":
			s.Name = value
		case "dir":
			s.Dir = value
		case "sha256":
			s.SHA256 = value
		case "make":
			s.Make = append(s.Make, value)
		case "patch":
			s.Patches = append(s.Patches, value)
		}
	}
	return s, s.check()
}

// check validates what can be known without looking at the source.
func (s Spec) check() error {
	address, sum, err := web.Split(s.Source)
	if err != nil {
		return err
	}
	raw, wrong := hex.DecodeString(s.SHA256)
	switch {
	case s.Source == "":
		return fault.Usagef("reading a module source: it names no directory, archive or URL")
	case s.SHA256 != "" && (wrong != nil || len(raw) != 32):
		return s.usage("its sha256 %q should have 64 hexadecimal digits", s.SHA256)
	case s.SHA256 != "" && sum != "" && !strings.EqualFold(s.SHA256, sum):
		return fault.Usagef("reading the module source %q: sha256= and the address have different checksums; omit one", web.Show(address))
	case s.Name != "" && !validName(s.Name):
		return s.usage("the name %q may have only letters, digits and . _ + -, and must begin with a letter or digit", s.Name)
	case s.Dir != "" && !fs.ValidPath(s.Dir):
		return s.usage("dir=%s must be a path below the source's top directory", s.Dir)
	}
	for _, argument := range s.Make {
		if strings.HasPrefix(argument, "-") || strings.ContainsAny(argument, "\n\r\x00") {
			return s.usage("make=%q is neither VARIABLE=VALUE nor a target", argument)
		}
	}
	return nil
}

func (s Spec) usage(format string, args ...any) error {
	return fault.Usagef("reading the module source %q: "+format, append([]any{web.Show(s.Source)}, args...)...)
}

func validName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`).MatchString(name) && len(name) <= 100
}

// nameOf returns the name for a source without one: "ice" for
// "https://e/ice-1.14.9.tar.gz".
func nameOf(source string) string {
	base := path.Base(strings.TrimRight(web.Show(source), "/"))
	for _, suffix := range []string{".deb", ".tgz", ".txz", ".tbz2", ".gz", ".xz", ".bz2", ".zst", ".tar"} {
		base = strings.TrimSuffix(base, suffix)
	}
	base = regexp.MustCompile(`[-_]v?[0-9].*$`).ReplaceAllString(base, "")
	base = strings.TrimLeft(regexp.MustCompile(`[^A-Za-z0-9._+-]`).ReplaceAllString(base, "-"), ".-_+")
	if base == "" {
		return "modules"
	}
	return base[:min(len(base), 100)]
}

// String returns a driver's name and origin for messages.
func (d *Driver) String() string { return fmt.Sprintf("%s (%s)", d.Name, d.Origin) }
