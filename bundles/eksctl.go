package bundles

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/semver"

	"hookbuild/internal/fault"
)

// eksctlVersion is the output of "eksctl anywhere version".
type eksctlVersion struct {
	Version            string `json:"version"`
	BundleManifestURL  string `json:"bundleManifestURL"`  // "" up to v0.18.3, or if eksctl had no network
	ReleaseManifestURL string `json:"releaseManifestURL"` // "" up to v0.18.7, or if eksctl had no network
}

// maxEksctlOutput is the size limit of eksctl's output in bytes.
const maxEksctlOutput = 1 << 20

// readEksctl reads the standard output of "eksctl anywhere version" in all
// its forms: the bare version (up to v0.18.3), "Version: ..." lines (since
// v0.18.4), and -o json and -o yaml. Log lines among them, which eksctl
// prints with -v, are ignored.
func readEksctl(output string) (eksctlVersion, error) {
	v, err := parseEksctl(output)
	if err != nil {
		return eksctlVersion{}, fault.Invalidf("reading the output of \"eksctl anywhere version\": %w; use --eksa-version or --bundle instead", err)
	}
	return v, nil
}

func parseEksctl(output string) (eksctlVersion, error) {
	var v eksctlVersion
	if len(output) > maxEksctlOutput {
		return v, fmt.Errorf("it has more than %d MiB", maxEksctlOutput>>20)
	}
	for line := range strings.Lines(output) {
		if err := v.read(strings.TrimSpace(line)); err != nil {
			return v, err
		}
	}
	switch {
	case strings.TrimSpace(output) == "":
		return v, errors.New("it is empty (is the eksctl-anywhere plugin installed?)")
	case v.Version == "":
		return v, fmt.Errorf("no version in %q", firstLine([]byte(strings.TrimSpace(output))))
	case !semver.IsValid(v.Version):
		return v, fmt.Errorf("version %q is not of the form vX.Y.Z", v.Version)
	}
	return v, nil
}

// read reads one line. The first value of each kind counts.
func (v *eksctlVersion) read(line string) error {
	if strings.HasPrefix(line, "{") {
		return v.readJSON(line)
	}
	if semver.IsValid(line) {
		set(&v.Version, line)
		return nil
	}
	key, value, ok := strings.Cut(line, ": ")
	if !ok {
		return nil
	}
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	switch key {
	case "Version", "version":
		set(&v.Version, value)
	case "Bundle Manifest URL", "bundleManifestURL":
		set(&v.BundleManifestURL, value)
	case "Release Manifest URL", "releaseManifestURL":
		set(&v.ReleaseManifestURL, value)
	}
	return nil
}

// readJSON reads a JSON object on one line. One without a version is a log line.
func (v *eksctlVersion) readJSON(line string) error {
	var in eksctlVersion
	if err := json.Unmarshal([]byte(line), &in); err != nil {
		return fmt.Errorf("decoding %q: %w", firstLine([]byte(line)), err)
	}
	if in.Version != "" {
		set(&v.Version, in.Version)
		set(&v.BundleManifestURL, in.BundleManifestURL)
		set(&v.ReleaseManifestURL, in.ReleaseManifestURL)
	}
	return nil
}

func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
