package sbom

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"strings"

	"hookbuild/internal/fault"
)

// installed is a package that the database of a package manager lists.
type installed struct {
	Name, Version, Arch string
	// Kind is apk or deb.
	Kind string
}

// url returns the package URL.
func (p installed) url() string {
	distribution := map[string]string{"apk": "alpine", "deb": "debian"}[p.Kind]
	text := "pkg:" + p.Kind + "/" + distribution + "/" + url.QueryEscape(p.Name) + "@" + url.QueryEscape(p.Version)
	if p.Arch != "" {
		text += "?arch=" + url.QueryEscape(p.Arch)
	}
	return text
}

// databases maps where package managers keep their databases to the kind.
func databases() map[string]string {
	return map[string]string{"lib/apk/db/installed": "apk", "usr/lib/apk/db/installed": "apk", "var/lib/dpkg/status": "deb"}
}

// mostDatabase is the size limit of a database, which has a few MiB.
const mostDatabase = 256 << 20

// readDatabase reads the database of apk (lib/apk/db/installed) or dpkg
// (var/lib/dpkg/status): paragraphs of "Key: value" lines. Packages that dpkg lists
// and that are not installed are left out.
func readDatabase(r io.Reader, kind string) ([]installed, error) {
	keys := map[string]string{"P": "name", "V": "version", "A": "arch"}
	if kind == "deb" {
		keys = map[string]string{"Package": "name", "Version": "version", "Architecture": "arch", "Status": "status"}
	}
	var all []installed
	fields := map[string]string{}
	end := func() {
		there := kind != "deb" || strings.HasSuffix(fields["status"], " installed")
		if fields["name"] != "" && fields["version"] != "" && there {
			all = append(all, installed{fields["name"], fields["version"], fields["arch"], kind})
		}
		clear(fields)
	}
	const longest = 16 << 20 // of a line
	bounded := &io.LimitedReader{R: r, N: mostDatabase}
	lines := bufio.NewScanner(bounded)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		switch {
		case strings.TrimSpace(lines.Text()) == "":
			end()
		case ok && keys[key] != "":
			fields[keys[key]] = strings.TrimSpace(value)
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return nil, fault.Mark(fmt.Errorf("reading a package database: %w", err), fault.Invalid)
	}
	if bounded.N == 0 {
		return nil, fault.Invalidf("reading a package database: it has more than %d MiB", mostDatabase>>20)
	}
	return all, nil
}
