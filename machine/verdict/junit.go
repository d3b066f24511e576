package verdict

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
	Out      string      `xml:"system-out,omitempty"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the report as JUnit XML. A check that was not seen is a
// failure if it is required, and skipped otherwise.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "boot: " + r.Machine, Tests: len(r.Checks), Time: seconds(r.Seconds), Out: printable(strings.Join(r.Console, "\n"))}
	for _, c := range r.Checks {
		one := junitCase{Class: "boot", Name: c.Name, Time: seconds(c.Seconds)}
		message := &junitMessage{printable(string(c.Status) + ": " + c.Found)}
		switch {
		case c.bad():
			one.Failure = message
			suite.Failures++
		case c.Status == NotSeen:
			one.Skipped = message
			suite.Skipped++
		}
		suite.Cases = append(suite.Cases, one)
	}
	text, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// printable removes characters that XML cannot represent.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == 0xfffe || c == 0xffff {
			return -1
		}
		return c
	}, text)
}
