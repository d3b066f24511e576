package source

import (
	"context"
	"fmt"
)

// File is what fetching a release needs from a mirror.
type File struct {
	// URL is the address on kernel.org.
	URL string
	// Path is the file on this machine, or Content what is in it.
	Path    string
	Content []byte
}

// Files returns the files that [Fetch] reads for a release: the archive, which is
// fetched and verified, its signature and the signed list of checksums.
func Files(ctx context.Context, v Version, o Options) ([]File, error) {
	archive, err := Fetch(ctx, v, o)
	if err != nil {
		return nil, err
	}
	at := defaultMirrors()[0] + "/" + v.directory() + "/"
	files := []File{{URL: at + v.file() + ".xz", Path: archive.Path}}
	for _, name := range []string{v.file() + ".sign", "sha256sums.asc"} {
		content, err := fromMirrors(ctx, v, o, func(base string) ([]byte, error) {
			return small(ctx, o, below(base, name), mostSmall, anything)
		})
		if err != nil {
			return nil, err
		}
		files = append(files, File{URL: at + name, Content: content})
	}
	return files, checkFiles(ctx, files, v, o)
}

// checkFiles makes sure that the files prove each other, as they must when they
// are all that there is.
func checkFiles(ctx context.Context, files []File, v Version, o Options) error {
	keys, err := readKeyring(o.Keys)
	if err != nil {
		return err
	}
	sum, err := signedSum(files[2].Content, v.file()+".xz", keys, o)
	if err == nil {
		err = checkSum(ctx, files[0].Path, sum)
	}
	if err == nil {
		err = checkSignature(files[0].Path, files[1].Content, keys, o)
	}
	if err != nil {
		return fmt.Errorf("verifying Linux %s: %w", v, err)
	}
	return nil
}
