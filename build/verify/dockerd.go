package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// snapshotter is the feature that makes dockerd keep its images in containerd.
const snapshotter = "containerd-snapshotter"

// largestSetting is the size limit of a daemon.json and a container's config.json.
const largestSetting = 1 << 20

// warnOfContainerd warns if a setting makes dockerd keep its images in containerd,
// because dockerd then sees none of the embedded ones. Without the setting, dockerd
// 28 and 29 both use the store that they find. Files that a program writes at boot
// cannot be checked.
func (v *verifier) warnOfContainerd(name string, tree *initramfs.Tree) error {
	for e := range tree.All() {
		var asks func([]byte) bool
		switch {
		case matches("containers/services/*/config.json", e.Path):
			asks = flagAsks
		case e.Path == "etc/docker/daemon.json", matches("containers/services/*/*/etc/docker/daemon.json", e.Path):
			asks = settingAsks
		default:
			continue
		}
		content, err := readSetting(e)
		if err != nil {
			return fmt.Errorf("reading %q of %s: %w", e.Path, name, err)
		}
		if asks(content) {
			progress.Warnf(v.editor.Progress, "%s: %s enables %s, with which dockerd sees none of the embedded images; remove that setting", name, e.Path, snapshotter)
		}
	}
	return nil
}

// matches is path.Match for a pattern that is valid.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// readSetting returns the content of a regular file, and nil for other entries.
func readSetting(e initramfs.Entry) ([]byte, error) {
	if e.Type != initramfs.Regular || e.Open == nil {
		return nil, nil
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(r, largestSetting))
	return content, errors.Join(err, r.Close())
}

// settingAsks reports whether a daemon.json enables the feature.
func settingAsks(content []byte) bool {
	var daemon struct{ Features map[string]bool }
	return json.Unmarshal(content, &daemon) == nil && daemon.Features[snapshotter]
}

// flagAsks reports whether the arguments of the process in a container's
// config.json enable the feature: --feature NAME, --feature=NAME=true.
func flagAsks(content []byte) bool {
	var container struct{ Process struct{ Args []string } }
	if json.Unmarshal(content, &container) != nil {
		return false
	}
	return slices.ContainsFunc(container.Process.Args, func(arg string) bool {
		switch strings.TrimPrefix(arg, "--feature=") {
		case snapshotter, snapshotter + "=true", snapshotter + "=1":
			return true
		}
		return false
	})
}
