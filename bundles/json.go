package bundles

import (
	"encoding/json"
	"fmt"
	"io"
)

// listing is the JSON form of a list of images.
type listing struct {
	Bundle *listedBundle `json:"bundle,omitempty"`
	Worker *listedWorker `json:"worker,omitempty"`
	Images []listedImage `json:"images"`
}

type listedBundle struct {
	Origin  string `json:"origin"`
	Number  int    `json:"number,omitempty"`
	Release string `json:"release,omitempty"`
}

// listedWorker says where the worker is looked for, in this order.
type listedWorker struct {
	HookOS string `json:"hookOS,omitempty"`
	Image  string `json:"image,omitempty"`
	Commit string `json:"commit,omitempty"`
}

type listedImage struct {
	Image
	// Reference is the reference to pull.
	Reference string `json:"reference"`
}

// WriteJSON writes the images, and the bundle unless it is nil, as one indented JSON
// object: {"bundle": {"origin", "number", "release"},
// "images": [{"key", "name", "source", "digest", "embedNames", "arch",
// "reference"}]}. Need is where a worker that is not among the images is looked
// for, as "worker": {"hookOS", "image", "commit"}; nil for none.
func WriteJSON(w io.Writer, from *Bundle, need *WorkerNeed, images []Image) error {
	out := listing{Images: []listedImage{}}
	if from != nil {
		out.Bundle = &listedBundle{from.Origin, from.Number(), from.Release()}
	}
	if need != nil {
		out.Worker = &listedWorker{HookOS: need.HookOS.URL}
		if need.Commit != "" {
			out.Worker.Image, out.Worker.Commit = Agent, need.Commit
		}
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
