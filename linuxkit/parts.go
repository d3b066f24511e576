package linuxkit

import (
	"strings"

	"hookbuild/linuxkit/size"
)

// SizeParts returns the parts of the result for a size report. Images are named
// by their repositories, without tags, so that they can be compared with their
// next version; all files of the document are one part.
func (r *Result) SizeParts() []size.Part {
	var parts []size.Part
	for _, p := range r.Parts {
		name := repository(p.Name)
		switch section, _, _ := strings.Cut(p.Where, "["); {
		case section == "files":
			name = "files of the template"
		case section == "kernel":
			name = "kernel and modules"
		case p.Where == "init" || section == "extra":
			name = p.Name
		}
		parts = append(parts, size.Part{Name: name, Files: p.Files, Bytes: p.Bytes})
	}
	return parts
}

// repository returns a reference without its tag and digest.
func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon]
	}
	return ref
}
