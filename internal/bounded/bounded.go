// Package bounded reads what is expected to be small. A large file, such as an
// image that a user names instead of a list, does not fill the memory.
package bounded

import (
	"errors"
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
	content, err := ReadAll(f, most)
	var large largeError
	if errors.As(err, &large) {
		err = fmt.Errorf("reading %q: %w", name, err)
	}
	return content, err
}

// largeError reports content of more than that many bytes.
type largeError int64

func (e largeError) Error() string {
	return fmt.Sprintf("it has more than the %d MiB that such a file may have", int64(e)>>20)
}

// ReadAll is [io.ReadAll] for content of at most most bytes. More is an error
// after that many bytes.
func ReadAll(r io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(content)) > most {
		return nil, largeError(most)
	}
	return content, err
}
