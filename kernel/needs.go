package kernel

import (
	"cmp"
	"strings"

	"hookbuild/internal/web"
	"hookbuild/kernel/flavor"
	kernelsource "hookbuild/kernel/source"
)

// Needs are the places that opening a kernel asks, as far as its reference tells.
type Needs struct {
	// Images are references, Repositories names whose tags are listed, and URLs
	// files and lists.
	Images, Repositories, URLs []string
	// Files are the URLs that are files and must exist.
	Files []string
	// Compiles reports whether a Docker Engine compiles the kernel or modules.
	Compiles bool
}

// NeedsOf returns what opening ref with o asks. It asks nothing itself.
func NeedsOf(ref string, o OpenOptions) Needs {
	var n Needs
	name, rest, _ := strings.Cut(ref, ":")
	switch name {
	case "image":
		n.Images = append(n.Images, rest)
	case "deb":
		for source := range strings.SplitSeq(rest, ",") {
			n.addFile(source)
		}
	case "build":
		n.Compiles = true
		n.addSource(o)
	case "", "latest":
		repository := o.Plan.ImageRepository()
		if o.Plan.Flavor.Method == flavor.Armbian {
			repository = cmp.Or(o.Armbian.Base, armbianBase) + "/" + o.Plan.Flavor.Artifact
		}
		n.Repositories = append(n.Repositories, repository)
	}
	for _, d := range o.Drivers {
		n.Compiles = true
		n.addFile(d.Source)
	}
	if image, ok := strings.CutPrefix(o.Plan.Firmware, "image:"); ok {
		n.Images = append(n.Images, image)
	}
	return n
}

// addFile adds a file, if it is at a URL.
func (n *Needs) addFile(source string) {
	if web.IsURL(source) {
		n.URLs, n.Files = append(n.URLs, source), append(n.Files, source)
	}
}

// addSource adds where the source of a kernel that is compiled comes from.
func (n *Needs) addSource(o OpenOptions) {
	download := o.Plan.Download
	switch {
	case web.IsURL(o.Plan.Source):
		n.addFile(o.Plan.Source)
	case o.Plan.Source == "":
		n.URLs = append(n.URLs, cmp.Or(download.ReleasesURL, kernelsource.ReleasesURL))
		n.URLs = append(n.URLs, download.Mirrors...)
	}
}
