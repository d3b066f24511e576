package bundles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The limits for a manifest. Published bundles have about 300 KiB and 6,000 lines.
const (
	maxManifest = 16 << 20  // bytes of text
	maxNodes    = 500_000   // values, keys and lists, which determine the memory used
	maxExpanded = 128 << 20 // bytes with every alias expanded
)

// readYAML reads the one document in data. It uses memory in proportion to the text,
// and returns an error for text that would expand beyond the limits.
func readYAML(data []byte) (*yaml.Node, error) {
	all, err := readDocuments(data)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(objects(all), isCluster) {
		return nil, errors.New("it is a cluster specification, with an object of kind Cluster; name it with --cluster")
	}
	if len(all) > 1 {
		return nil, fmt.Errorf("line %d begins a second document, but a manifest has only one; split the file", all[1].Line)
	}
	dropRepeated(all[0])
	return all[0], nil
}

// readDocuments reads the documents in data, under the same limits. There must be at
// least one.
func readDocuments(data []byte) ([]*yaml.Node, error) {
	if err := sniff(data); err != nil {
		return nil, err
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("it has more than %d MiB, the limit; a bundle manifest usually has less than one; check its origin", maxManifest>>20)
	}
	if n := countNodes(data); n > maxNodes {
		return nil, fmt.Errorf("it has about %d values, but manifests have less than %d; check its origin", n, maxNodes)
	}
	var all []*yaml.Node
	weight := 0
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		root, err := nextDocument(dec)
		switch {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, fmt.Errorf("it is empty; download it again")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("it is not valid YAML: %w", err)
		}
		all = append(all, root)
		if weight += weigh(root, map[*yaml.Node]int{}); weight > maxExpanded {
			return nil, fmt.Errorf("its aliases expand to more than %d MiB; replace them by the values", maxExpanded>>20)
		}
	}
}

// nextDocument returns the content of the next document that is not empty.
func nextDocument(dec *yaml.Decoder) (*yaml.Node, error) {
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return nil, err
		}
		if len(doc.Content) == 1 && doc.Content[0].Tag != "!!null" {
			return doc.Content[0], nil
		}
	}
}

// countNodes returns an upper bound on the number of YAML nodes, from the number of
// separators.
func countNodes(data []byte) int {
	n := 1
	for _, sep := range []string{",", "[", "{", "\n", "\r", "- ", "-\t", "? ", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(sep))
	}
	return n
}

// weigh returns the size of the text below n with every alias expanded, or about
// maxExpanded if it is larger. An alias inside its own anchor counts as larger.
func weigh(n *yaml.Node, memo map[*yaml.Node]int) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if w, ok := memo[n]; ok {
		return w
	}
	memo[n] = maxExpanded + 1
	w := len(n.Value) + 1
	for _, c := range n.Content {
		w = min(w+weigh(c, memo), maxExpanded+1)
	}
	memo[n] = w
	return w
}

// dropRepeated removes all but the last of equal keys in a mapping, as EKS Anywhere
// does. There are published manifests with such keys.
func dropRepeated(n *yaml.Node) {
	for _, c := range n.Content {
		dropRepeated(c)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	last := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		last[n.Content[i].Value] = i
	}
	kept := n.Content[:0]
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind != yaml.ScalarNode || last[key.Value] == i {
			kept = append(kept, key, n.Content[i+1])
		}
	}
	n.Content = kept
}

// sniff returns an error for files that are often used instead of a manifest by
// mistake.
func sniff(data []byte) error {
	text := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(text) == 0:
		return fmt.Errorf("it is empty; download it again")
	case text[0] == '<':
		return fmt.Errorf("it is a web page (%q), not YAML; open the URL in a browser: a proxy or a login page may have responded", firstLine(text))
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return fmt.Errorf("it is gzip-compressed; unpack it and name the manifest in it (bundle-release.yaml in eksctl's downloads)")
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return fmt.Errorf("it is a tar archive; unpack it and name the manifest in it (bundle-release.yaml in eksctl's downloads)")
	}
	return nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text[:min(len(text), 60)]), "\n")
	return strings.TrimSpace(line)
}

// checkKind returns an error if root is not an EKS Anywhere object of this kind.
func checkKind(root *yaml.Node, want string) error {
	var h header
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("it is not an object with a kind; name a %s manifest of EKS Anywhere", want)
	}
	if err := decode(root, &h); err != nil {
		return err
	}
	switch {
	case h.of(want):
		return nil
	case h.Kind == "":
		return fmt.Errorf("it has no kind; name a %s manifest of EKS Anywhere", want)
	case h.Kind == want:
		return fmt.Errorf("its kind is %s, but its apiVersion is %q, not %s/...; name a manifest of EKS Anywhere", want, h.APIVersion, group)
	case h.of(kindRelease):
		return releaseAsBundle(root)
	case h.of(kindBundles):
		return fmt.Errorf("its kind is Bundles: it is the bundle of one release, not the list of releases; use it with --bundle")
	}
	return fmt.Errorf("its kind is %s, not %s; name a %s manifest of EKS Anywhere", quoteKind(h), want, want)
}

func quoteKind(h header) string {
	if h.APIVersion == "" {
		return h.Kind
	}
	return fmt.Sprintf("%s (%s)", h.Kind, h.APIVersion)
}

// releaseAsBundle returns the error for a list of releases instead of a bundle.
func releaseAsBundle(root *yaml.Node) error {
	const what = "its kind is Release: it is the list of releases (eksctl's downloads call it manifest.yaml), not a bundle; "
	var r releaseDocument
	if err := decode(root, &r); err != nil {
		return fmt.Errorf("%suse the bundleManifestUrl of a version in it (%w)", what, err)
	}
	rel, ok := r.find(r.Spec.LatestVersion)
	if !ok || rel.BundleManifestURL == "" {
		return fmt.Errorf("%suse the bundleManifestUrl of a version in it, or bundle-release.yaml from the same download", what)
	}
	return fmt.Errorf("%suse the bundleManifestUrl of a version in it; that of the latest, %s, is %s", what, rel.Version, rel.BundleManifestURL)
}

// decode stores a node in v and ignores keys that v does not have. The library's
// message has the line.
func decode(n *yaml.Node, v any) error {
	err := n.Decode(v)
	if err == nil {
		return nil
	}
	var typed *yaml.TypeError
	if errors.As(err, &typed) && len(typed.Errors) > 0 {
		return fmt.Errorf("%s; correct the manifest", typed.Errors[0])
	}
	return fmt.Errorf("decoding the YAML: %w", err)
}
