package main

import "strings"

// cacheKind is a kind of files in the cache, and what they are.
type cacheKind struct{ name, what string }

// cacheKinds returns the kinds that `cache ls` may list, sorted.
func cacheKinds() []cacheKind {
	return []cacheKind{
		{"ahead", "notes of images whose layers were fetched ahead"},
		{"blobs", "the files of pulled artifacts"},
		{"boot", "kernels and microcode of assembled systems"},
		{"compiled", "compiled kernels, for other machines"},
		{"configs", "images' configurations"},
		{"downloads", "files fetched from URLs: bundles, sources, lists"},
		{"embeddings", "notes of images that were embedded before"},
		{"engine", "notes of images of a Docker Engine"},
		{"hook", "what was unpacked of Hook checkouts' archives"},
		{"kernels", "unpacked kernels, modules and packages"},
		{"kit", "what was unpacked of kits"},
		{"layers", "images' unpacked layers"},
		{"manifests", "images' manifests"},
		{"modules", "modules that were compiled from their own sources"},
		{"pieces", "layers as squashfs, of which the store of embedded images is made"},
		{"published", "notes of artifacts that are up to date"},
		{"referrers", "lists of what refers to an image"},
		{"reports", "sizes of the parts of an initramfs"},
		{"sboms", "lists of what is in a result"},
		{"segments", "finished parts of an initramfs"},
		{"taglists", "lists of a repository's tags"},
		{"tags", "digests behind tags"},
		{"tar-split", "the framing of layers, from which Docker rebuilds their tar archives"},
		{"workers", "workers that were taken out of a HookOS"},
	}
}

// kindsText explains the kinds in a sentence.
func kindsText() string {
	var all []string
	for _, k := range cacheKinds() {
		all = append(all, k.name+" ("+k.what+")")
	}
	return "The kinds are " + strings.Join(all, ", ") + "."
}
