// Compare shows where hookbuild and the linuxkit tool differ about a document:
// "-" is what only linuxkit's tree has, "+" what only hookbuild's has.
//
//	go run ./test/peertest/compare [-linuxkit PROGRAM] [-record] [-corpus|-stand-ins] DOCUMENT...
//
// With -corpus every registry is one in the process that has the test corpus;
// with -stand-ins it has an image of the corpus for whatever image a document
// names; else images come from where they are. With -record linuxkit's tree
// goes to DOCUMENT's name with .golden instead, which is how the golden trees
// of the tests are made.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/linuxkit"
	"hookbuild/test/peertest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

type options struct {
	linuxkit, home string
	record, corpus bool
	standIns       bool
	mirror         string
}

func main() {
	var o options
	flag.StringVar(&o.linuxkit, "linuxkit", "linuxkit", "the linuxkit program")
	flag.StringVar(&o.home, "home", os.Getenv("HOME"), "what ~/ stands for in a document")
	flag.BoolVar(&o.record, "record", false, "write linuxkit's tree beside the document")
	flag.BoolVar(&o.corpus, "corpus", false, "take the images from the test corpus")
	flag.BoolVar(&o.standIns, "stand-ins", false, "take images of the test corpus for all that the documents name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	same, err := run(ctx, o, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !same {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, documents []string) (same bool, err error) {
	same = true
	for _, document := range documents {
		differs, err := compare(ctx, o, document)
		if err != nil {
			return false, err
		}
		for _, line := range differs {
			same = false
			fmt.Printf("%s: %s\n", document, line)
		}
	}
	return same, nil
}

// compare returns the differences about a document, or records linuxkit's tree.
func compare(ctx context.Context, o options, document string) ([]string, error) {
	doc, err := read(document)
	if err != nil {
		return nil, err
	}
	if o.corpus || o.standIns {
		host, stop, err := serve(o, doc)
		if err != nil {
			return nil, err
		}
		defer stop()
		o.mirror = host
	}
	theirs, err := peertest.Linuxkit(ctx, o.linuxkit, document, o.home, o.mirror)
	if err != nil {
		return nil, err
	}
	if o.record {
		return nil, os.WriteFile(goldenName(document), []byte(theirs.String()), 0o644)
	}
	ours, err := assemble(ctx, document, doc, o)
	if err != nil {
		return nil, err
	}
	return peertest.Diff(theirs, ours), nil
}

func serve(o options, doc *linuxkit.Document) (host string, stop func(), err error) {
	images := peertest.Images
	if o.standIns {
		images = func() (map[string]v1.ImageIndex, error) { return peertest.StandIns(doc) }
	}
	all, err := images()
	if err != nil {
		return "", nil, err
	}
	return peertest.Serve(all)
}

func read(document string) (*linuxkit.Document, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	doc, err := linuxkit.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", document, err)
	}
	return doc, nil
}

func goldenName(document string) string {
	return strings.TrimSuffix(document, filepath.Ext(document)) + ".golden"
}

func assemble(ctx context.Context, document string, doc *linuxkit.Document, o options) (peertest.Listing, error) {
	dir, err := os.MkdirTemp("", "compare-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := cache.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	clientOptions := oci.Options{Cache: c}
	for _, ref := range doc.References(linuxkit.Options{}) {
		if registry, _, _ := strings.Cut(ref, "/"); o.mirror != "" {
			clientOptions.Mirrors = append(clientOptions.Mirrors, oci.Mirror{From: registry, To: o.mirror})
		}
	}
	images := peertest.Registry(oci.NewClient(clientOptions), v1.Platform{OS: "linux", Architecture: "amd64"})
	res, err := linuxkit.Assemble(ctx, doc, linuxkit.Options{Images: images, WorkDir: filepath.Dir(document), HomeDir: o.home})
	if err != nil {
		return nil, fmt.Errorf("assembling %q: %w", document, err)
	}
	return peertest.FromTree(res.Tree, res.Boot)
}
