// Package bounded reads files that are expected to be small. A large one, such as
// an image that a user names instead of a list, does not fill the memory.
package bounded

import (
	"fmt"
	"io"
	"os"
)

// Small is the limit for text that people write or programs keep for them:
// configurations, templates, locks, certificates.
const Small = 16 << 20

// ReadFile is [os.ReadFile] for a file of at most most bytes. A larger one is an
// error after that many bytes.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, fmt.Errorf("reading %q: it has more than the %d MiB that such a file may have", name, most>>20)
	}
	return content, nil
}
