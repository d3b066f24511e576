package initramfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// meter counts the bytes read from it, and limits them.
type meter struct {
	*bufio.Reader
	below    io.Reader
	n, limit int64
	failed   bool // the underlying reader failed; its content is not at fault
}

func newMeter(r io.Reader, limit int64) *meter {
	m := &meter{below: r, limit: limit}
	m.Reader = bufio.NewReaderSize(meterBelow{m}, 64<<10)
	return m
}

// position returns the number of bytes read from the meter.
func (m *meter) position() int64 { return m.n - int64(m.Buffered()) }

// skipZeros advances to the next byte that is not 0.
func (m *meter) skipZeros() error {
	for {
		b, err := m.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return m.UnreadByte()
		}
	}
}

type meterBelow struct{ m *meter }

func (b meterBelow) Read(p []byte) (int, error) {
	n, err := b.m.below.Read(p)
	b.m.n += int64(n)
	if b.m.n > b.m.limit {
		return 0, fmt.Errorf("it unpacks to more than the limit of %d bytes", b.m.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.m.failed = true
	}
	return n, err
}
