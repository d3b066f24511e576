package linuxkit

import (
	"fmt"
	"slices"
)

// Overlay returns the document with an overlay applied to it: first what it
// removes, then what it changes and adds. Name is the document's, for messages.
// The document does not change.
func (d *Document) Overlay(name string, o *Overlay) (*Document, error) {
	changed, err := d.overlay(o)
	if err == nil {
		err = changed.check()
	}
	if err != nil {
		return nil, fmt.Errorf("applying the overlay %q to %q: %w", o.Name, name, err)
	}
	return changed, nil
}

func (d *Document) overlay(o *Overlay) (*Document, error) {
	changed := *d
	if err := changed.removeAll(o); err != nil {
		return nil, err
	}
	for _, s := range o.sectionsOf(&changed) {
		list, err := s.apply(o)
		if err != nil {
			return nil, err
		}
		*s.store = list
	}
	for _, apply := range []func(*Overlay) error{changed.overlayInit, changed.overlayFiles, changed.overlayVolumes} {
		if err := apply(o); err != nil {
			return nil, err
		}
	}
	if o.Kernel != nil {
		kernel := *o.Kernel
		kernel.from = o.Name
		changed.Kernel.add(kernel)
	}
	return &changed, nil
}

func (d *Document) removeAll(o *Overlay) (err error) {
	long := slices.Clone(o.Remove.Init)
	for i := range long {
		long[i].Text = ExpandReference(long[i].Text)
	}
	if d.Init, err = removeNamed(d.Init, long, "remove.init", "init image", longName); err != nil {
		return err
	}
	for _, s := range o.sectionsOf(d) {
		if *s.store, err = removeNamed(s.containers, s.removed, "remove."+s.name, s.kind(), containerName); err != nil {
			return err
		}
	}
	clean := slices.Clone(o.Remove.Files)
	for i := range clean {
		clean[i].Text = cleanFilePath(clean[i].Text)
	}
	if d.Files, err = removeNamed(d.Files, clean, "remove.files", "file", fileName); err != nil {
		return err
	}
	d.Volumes, err = removeNamed(d.Volumes, o.Remove.Volumes, "remove.volumes", "volume", volumeNameOf)
	return err
}

func longName(r ImageRef) string        { return ExpandReference(r.Name) }
func containerName(c *Container) string { return c.Name }
func fileName(f *File) string           { return cleanFilePath(f.Path) }
func volumeNameOf(v *Volume) string     { return v.Name }
func (s section) kind() string {
	return map[bool]string{true: s.name + " container", false: "service"}[s.numbered]
}
func (s section) at(i int, k string) string { return fmt.Sprintf("%s[%d].%s", s.name, i, k) }

func (d *Document) overlayInit(o *Overlay) error {
	d.Init = slices.Clone(d.Init)
	for i, ref := range o.Init {
		where := fmt.Sprintf("init[%d]", i)
		if err := checkReference(ref.Name, ref.Line, where); err != nil {
			return err
		}
		if at, _ := find(d.Init, longName(ref), longName); at >= 0 {
			return faultAt(ref.Line, where, "%q is among the init images already", ref.Name)
		}
		ref.from = o.Name
		d.Init = append(d.Init, ref)
	}
	return nil
}

func (d *Document) overlayVolumes(o *Overlay) error {
	d.Volumes = slices.Clone(d.Volumes)
	for _, v := range o.Volumes {
		added := *v
		added.from = o.Name
		if at, _ := find(d.Volumes, v.Name, volumeNameOf); at >= 0 {
			d.Volumes[at] = &added
		} else {
			d.Volumes = append(d.Volumes, &added)
		}
	}
	return nil
}

func (d *Document) overlayFiles(o *Overlay) error {
	d.Files = slices.Clone(d.Files)
	for i, change := range o.Files {
		at, count := find(d.Files, fileName(&change.File), fileName)
		if count > 1 {
			return faultAt(change.Line, fmt.Sprintf("files[%d].path", i), "the document has %d files %q; remove them to write another", count, change.Path)
		}
		var old *File
		if at >= 0 {
			old = d.Files[at]
		}
		f, err := change.apply(old, o)
		if err != nil {
			return err
		}
		if problem := f.problem(); problem != "" {
			return faultAt(change.Line, fmt.Sprintf("files[%d]", i), "%s", problem)
		}
		if at >= 0 {
			d.Files[at] = f
		} else {
			d.Files = append(d.Files, f)
		}
	}
	return nil
}

// apply returns old, which is nil for a new file, with the change made.
func (c *FileChange) apply(old *File, o *Overlay) (*File, error) {
	edits := c.edits()
	f := c.File
	f.Edits, f.from, f.dir = edits, o.Name, o.Dir
	if old == nil {
		return &f, nil
	}
	merged := *old
	merged.from = o.Name
	if c.hasContent() {
		merged.Directory, merged.Symlink, merged.Contents, merged.Source, merged.Metadata = c.Directory, c.Symlink, c.Contents, c.Source, c.Metadata
		merged.Optional, merged.dir, merged.Line, merged.Edits = c.Optional, o.Dir, c.Line, nil
	} else if len(edits) == 0 && c.Mode == "" && c.UID == nil && c.GID == nil {
		return nil, faultAt(c.Line, "files", "%q is in the document, and nothing of it is changed; give a content, append, replace, mode, uid or gid", c.Path)
	}
	merged.Edits = slices.Concat(merged.Edits, edits)
	if c.Mode != "" {
		merged.Mode = c.Mode
	}
	if c.UID != nil {
		merged.UID = c.UID
	}
	if c.GID != nil {
		merged.GID = c.GID
	}
	return &merged, nil
}

func (f *File) hasContent() bool {
	return f.Directory || f.Symlink != "" || f.Contents != nil || f.Source != "" || f.Metadata != ""
}

func (c *FileChange) edits() []FileEdit {
	var all []FileEdit
	for _, r := range c.Replace {
		all = append(all, FileEdit{Text: r.Text, With: r.With, Optional: r.Optional})
	}
	if c.Append != nil {
		all = append(all, FileEdit{Append: *c.Append})
	}
	return all
}

// apply returns the section's containers with the changes made.
func (s overlaySection) apply(o *Overlay) ([]*Container, error) {
	list := slices.Clone(s.containers)
	for i, change := range s.changes {
		at, count := find(list, change.Name, containerName)
		switch {
		case count > 1:
			return nil, faultAt(change.Line, s.at(i, "name"), "the document has %d containers %q in %s; remove them to add another", count, change.Name, s.name)
		case at < 0 && change.Image == "":
			err := notFound(change.Line, s.at(i, "name"), s.kind(), change.Name, namesOf(list, containerName))
			return nil, fmt.Errorf("%w (a new one needs an image)", err)
		}
		old := &Container{Name: change.Name, Line: change.Line, from: o.Name}
		if at >= 0 {
			old = list[at]
		}
		c, err := change.apply(old, fmt.Sprintf("%s[%d]", s.name, i), o.Name)
		if err != nil {
			return nil, err
		}
		if at < 0 {
			at, list = len(list), append(list, c)
		}
		list[at] = c
		if list, err = s.place(list, at, i); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// place moves the container at an index to where its change wants it.
func (s overlaySection) place(list []*Container, at, i int) ([]*Container, error) {
	change := s.changes[i]
	word := cmpWord(change.Before, change.After)
	if word.Text == "" {
		return list, nil
	}
	c := list[at]
	list = slices.Delete(list, at, at+1)
	to, _ := find(list, word.Text, containerName)
	if to < 0 {
		key := map[bool]string{true: "before", false: "after"}[change.Before.Text != ""]
		return nil, notFound(word.Line, s.at(i, key), s.kind(), word.Text, namesOf(list, containerName))
	}
	if change.After.Text != "" {
		to++
	}
	return slices.Insert(list, to, c), nil
}
