package bundles

import (
	"encoding/json"
	"fmt"
	"io"
)

// listing is the JSON form of a list of images.
type listing struct {
	Bundle *listedBundle `json:"bundle,omitempty"`
	Images []listedImage `json:"images"`
}

type listedBundle struct {
	Origin  string `json:"origin"`
	Number  int    `json:"number,omitempty"`
	Release string `json:"release,omitempty"`
}

type listedImage struct {
	Image
	// Reference is the reference to pull.
	Reference string `json:"reference"`
}

// WriteJSON writes the images, and the bundle unless it is nil, as one indented JSON
// object: {"bundle": {"origin", "number", "release"},
// "images": [{"key", "name", "source", "digest", "embedNames", "arch",
// "reference"}]}.
func WriteJSON(w io.Writer, from *Bundle, images []Image) error {
	out := listing{Images: []listedImage{}}
	if from != nil {
		out.Bundle = &listedBundle{from.Origin, from.Number(), from.Release()}
	}
	for _, img := range images {
		out.Images = append(out.Images, listedImage{img, img.Reference()})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("writing the list of images as JSON: %w", err)
	}
	return nil
}
