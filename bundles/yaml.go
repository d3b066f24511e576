package bundles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds on a manifest from outside. Published bundles have some 300 KiB
// and 6,000 lines.
const (
	maxManifest = 16 << 20  // bytes of text
	maxNodes    = 500_000   // values, keys and lists: what the text costs in memory
	maxExpanded = 128 << 20 // bytes once every alias is written out
)

// readYAML reads the one document in data. It holds memory in proportion to
// the text: what a few bytes would blow up is refused.
func readYAML(data []byte) (*yaml.Node, error) {
	all, err := readDocuments(data)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, fmt.Errorf("line %d begins a second document, a manifest has one; split the file", all[1].Line)
	}
	dropRepeated(all[0])
	return all[0], nil
}

// readDocuments reads the documents in data, of which there is one at least,
// under the same bounds.
func readDocuments(data []byte) ([]*yaml.Node, error) {
	if err := sniff(data); err != nil {
		return nil, err
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("it has more than %d MiB, a manifest has less than 1 MiB; check where it was taken from", maxManifest>>20)
	}
	if n := countNodes(data); n > maxNodes {
		return nil, fmt.Errorf("it holds about %d values, a manifest holds less than %d; check where it was taken from", n, maxNodes)
	}
	var all []*yaml.Node
	weight := 0
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		root, err := nextDocument(dec)
		switch {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, fmt.Errorf("it is empty; get it again")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("it is not valid YAML: %w", err)
		}
		all = append(all, root)
		if weight += weigh(root, map[*yaml.Node]int{}); weight > maxExpanded {
			return nil, fmt.Errorf("its aliases expand to more than %d MiB; write the values out", maxExpanded>>20)
		}
	}
}

// nextDocument gives the content of the next document that is not empty.
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

// countNodes bounds the number of YAML nodes from above by what can separate
// them.
func countNodes(data []byte) int {
	n := 1
	for _, sep := range []string{",", "[", "{", "\n", "\r", "- ", "-\t", "? ", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(sep))
	}
	return n
}

// weigh is the size of the text below n with every alias written out, at most
// a little above maxExpanded. An alias inside of its own anchor is too heavy.
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

// dropRepeated keeps the last of several equal keys of a mapping, as EKS
// Anywhere's reader does: there are manifests with such keys.
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

// sniff recognises what people give for a manifest by mistake.
func sniff(data []byte) error {
	text := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(text) == 0:
		return fmt.Errorf("it is empty; get it again")
	case text[0] == '<':
		return fmt.Errorf("it is a web page (%q), not YAML; look at the address in a browser, a proxy or login page may have answered", firstLine(text))
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return fmt.Errorf("it is gzip-compressed; unpack it and give the manifest inside (eksctl's downloads hold bundle-release.yaml)")
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return fmt.Errorf("it is a tar archive; unpack it and give the manifest inside (eksctl's downloads hold bundle-release.yaml)")
	}
	return nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text[:min(len(text), 60)]), "\n")
	return strings.TrimSpace(line)
}

// checkKind wants an EKS Anywhere object of this kind, and says what it got.
func checkKind(root *yaml.Node, want string) error {
	var h header
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("it is not an object with a kind; give a %s manifest of EKS Anywhere", want)
	}
	if err := decode(root, &h); err != nil {
		return err
	}
	switch {
	case h.of(want):
		return nil
	case h.Kind == "":
		return fmt.Errorf("it has no kind; give a %s manifest of EKS Anywhere", want)
	case h.Kind == want:
		return fmt.Errorf("its kind is %s, but its apiVersion is %q and not %s/...; give a manifest of EKS Anywhere", want, h.APIVersion, group)
	case h.of(kindRelease):
		return releaseAsBundle(root)
	case h.of(kindBundles):
		return fmt.Errorf("its kind is Bundles: it is the bundle of one release, not the list of releases; give it as the bundle")
	}
	return fmt.Errorf("its kind is %s, not %s; give a %s manifest of EKS Anywhere", quoteKind(h), want, want)
}

func quoteKind(h header) string {
	if h.APIVersion == "" {
		return h.Kind
	}
	return fmt.Sprintf("%s (%s)", h.Kind, h.APIVersion)
}

// releaseAsBundle explains a manifest of releases where a bundle is wanted.
func releaseAsBundle(root *yaml.Node) error {
	const what = "its kind is Release: it is the list of releases (eksctl's downloads call it manifest.yaml), not a bundle; "
	var r releaseDocument
	if err := decode(root, &r); err != nil {
		return fmt.Errorf("%sgive what bundleManifestUrl of the wanted version points to (%w)", what, err)
	}
	rel, ok := r.find(r.Spec.LatestVersion)
	if !ok || rel.BundleManifestURL == "" {
		return fmt.Errorf("%sgive what bundleManifestUrl of the wanted version points to, or bundle-release.yaml from the same download", what)
	}
	return fmt.Errorf("%sgive the bundleManifestUrl of the wanted version, for the latest (%s) that is %s", what, rel.Version, rel.BundleManifestURL)
}

// decode fills v from a node; keys that v does not have are ignored. The
// library's message names the line.
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
