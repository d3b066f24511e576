package engine

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// vertex is a step of a build, from BuildKit's moby.buildkit.v1.Vertex.
type vertex struct {
	digest, name, err string
	started, cached   bool
}

// output is output of a step, from moby.buildkit.v1.VertexLog.
type output struct{ vertex, text string }

// status is moby.buildkit.v1.StatusResponse: the changes since the last one.
type status struct {
	vertexes []vertex
	logs     []output
}

// parseStatus reads the fields that trace needs; their numbers are those in
// BuildKit's api/services/control/control.proto.
func parseStatus(raw []byte) (s status, err error) {
	err = eachField(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1:
			v, err := parseVertex(value)
			s.vertexes = append(s.vertexes, v)
			return err
		case 3:
			l, err := parseLog(value)
			s.logs = append(s.logs, l)
			return err
		}
		return nil
	})
	return s, err
}

func parseVertex(raw []byte) (v vertex, err error) {
	err = eachField(raw, func(number protowire.Number, value []byte, n uint64) error {
		switch number {
		case 1:
			v.digest = string(value)
		case 3:
			v.name = string(value)
		case 4:
			v.cached = n != 0
		case 5:
			v.started = true
		case 7:
			v.err = string(value)
		}
		return nil
	})
	return v, err
}

func parseLog(raw []byte) (l output, err error) {
	err = eachField(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1:
			l.vertex = string(value)
		case 4:
			l.text = string(value)
		}
		return nil
	})
	return l, err
}

// eachField calls use for each field of a message, with its bytes or its
// number.
func eachField(raw []byte, use func(number protowire.Number, value []byte, n uint64) error) error {
	for len(raw) > 0 {
		number, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return fmt.Errorf("reading a protocol buffer: %w", protowire.ParseError(size))
		}
		raw = raw[size:]
		var value []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(raw)
		default:
			size = protowire.ConsumeFieldValue(number, kind, raw)
		}
		if size < 0 {
			return fmt.Errorf("reading a protocol buffer: %w", protowire.ParseError(size))
		}
		raw = raw[size:]
		if err := use(number, value, n); err != nil {
			return err
		}
	}
	return nil
}
