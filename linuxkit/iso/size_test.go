package iso

import (
	"bytes"
	"testing"
)

func TestVolumeSizeIsTheFileSize(t *testing.T) {
	image := build(t, sample())
	if got, err := VolumeSize(bytes.NewReader(image)); err != nil || got != int64(len(image)) {
		t.Errorf("got %d, %v; the image has %d bytes", got, err, len(image))
	}
	if _, err := VolumeSize(bytes.NewReader(image[:1000])); err == nil {
		t.Error("the size of an image without a descriptor was read")
	}
}
