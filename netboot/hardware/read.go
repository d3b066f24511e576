package hardware

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"hookbuild/internal/fault"
)

// The limits of a file. EKS Anywhere's sites have hundreds of machines.
const (
	mostBytes = 16 << 20
	mostRows  = 10_000
)

// Read returns the machines of a CSV file, in the order of the file. Warnings are
// faults with which the file can still be used: a byte-order mark, spaces around a
// value, a column that EKS Anywhere ignores. If there are other faults, Read returns
// all of them as an error of type [Faults].
func Read(r io.Reader, rules Rules) (machines []Machine, warnings Faults, err error) {
	text, err := io.ReadAll(io.LimitReader(r, mostBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > mostBytes {
		return nil, nil, fault.Invalidf("it is larger than %d MiB, so it is not a hardware list", mostBytes>>20)
	}
	reader := &reader{rules: rules}
	reader.read(text)
	wrong, warnings := reader.faults.split()
	if len(wrong) > 0 {
		return nil, warnings, wrong
	}
	return reader.machines, warnings, nil
}

// reader collects the rows of a file and its faults.
type reader struct {
	rules    Rules
	columns  []string // of the header, in the file's order
	rows     []*row
	machines []Machine
	faults   Faults
}

// row is a parsed line. Fields that were wrong are zero.
type row struct {
	Machine
	prefixBits int            // of the netmask
	bmc        string         // canonical BMC address, for comparisons only
	at         map[string]int // column of each cell
}

func (r *reader) fault(line, column int, name, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: line, Column: column, Name: name, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) warn(line, column int, name, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: line, Column: column, Name: name, Text: fmt.Sprintf(format, args...), Warning: true})
}

func (r *reader) read(text []byte) {
	text, ok := r.encoding(text)
	if !ok {
		return
	}
	lines := csv.NewReader(bytes.NewReader(text))
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	header, err := lines.Read()
	if errors.Is(err, io.EOF) {
		r.fault(1, 0, "", "the file is empty: write a header row and a row for each machine")
		return
	}
	if !r.syntax(err) || !r.header(lines, header) {
		return
	}
	r.readRows(lines)
	r.across()
	for _, row := range r.rows {
		r.machines = append(r.machines, row.Machine)
	}
}

// encoding handles the encodings and line ends that spreadsheet programs write.
func (r *reader) encoding(text []byte) ([]byte, bool) {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		r.fault(1, 0, "", "the file is UTF-16: save it as CSV UTF-8")
		return nil, false
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		r.warn(1, 1, "", "the file begins with a byte-order mark, which EKS Anywhere reads as part of the first column's name: save it as UTF-8 without one")
		text = text[3:]
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		r.fault(1+bytes.Count(text[:i], []byte("\n")), 0, "", "the line contains a NUL byte: this is not a CSV file")
		return nil, false
	}
	if !utf8.Valid(text) {
		r.fault(firstInvalid(text), 0, "", "the line is not UTF-8: save the file as CSV UTF-8")
		return nil, false
	}
	if bytes.ContainsRune(text, '\r') && !bytes.ContainsRune(text, '\n') {
		r.fault(1, 0, "", "the lines end with only a carriage return: save the file with LF or CRLF line ends")
		return nil, false
	}
	return text, true
}

// firstInvalid returns the line, from 1, of the first byte that is not UTF-8.
func firstInvalid(text []byte) int {
	for line, rest := range bytes.Split(text, []byte("\n")) {
		if !utf8.Valid(rest) {
			return line + 1
		}
	}
	return 1
}

// syntax records an error of the CSV reader. It returns false if the record is lost.
func (r *reader) syntax(err error) bool {
	if err == nil {
		return true
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		r.fault(1, 0, "", "reading the line: %v", err)
		return false
	}
	r.fault(parse.Line, parse.Column, "", "%v: put values with quotes, commas or line ends in double quotes, and double the quotes inside", parse.Err)
	return false
}

func (r *reader) readRows(lines *csv.Reader) {
	for range mostRows {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			if len(r.rows) == 0 && !slices.ContainsFunc(r.faults, func(f Fault) bool { return !f.Warning }) {
				r.fault(2, 0, "", "the file has no machine: add a row for each")
			}
			return
		}
		if r.syntax(err) {
			r.row(lines, record)
		}
	}
	line, _ := lines.FieldPos(0)
	r.fault(line, 0, "", "the file has more than %d rows", mostRows)
}

// row reads one record.
func (r *reader) row(lines *csv.Reader, record []string) {
	line, _ := lines.FieldPos(0)
	if len(record) != len(r.columns) {
		r.fault(line, 0, "", "the row has %d values, but the header has %d columns: put a value with a comma in double quotes", len(record), len(r.columns))
		return
	}
	cells := make(map[string]cell, len(record))
	for i, name := range r.columns {
		at, column := lines.FieldPos(i)
		cells[name] = r.cell(at, column, name, record[i])
	}
	r.rows = append(r.rows, r.parse(line, cells))
}
