package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// syslogService prints the logs of iPXE and of HookOS's Docker.
type syslogService struct {
	*server
	conn *net.UDPConn
}

func (s *server) listenSyslog() (service, error) {
	conn, err := s.listenUDP("syslog", s.SyslogPort, 514, "--syslog-port")
	if err != nil {
		return nil, err
	}
	return &syslogService{s, conn}, nil
}

// longestMessage is the size limit of a UDP datagram.
const longestMessage = 64 << 10

func (l *syslogService) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	buffer := make([]byte, longestMessage)
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("receiving syslog: %w", err)
		}
		l.log(from.Addr().String() + " " + syslogLine(buffer[:n]))
	}
}

func (s *server) log(line string) {
	if s.Log == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Log(line)
}

var (
	priority = regexp.MustCompile(`^<(\d{1,3})>`)
	// RFC 5424: version, time, host, program, process, kind, data, text.
	header5424 = regexp.MustCompile(`^1 \S+ \S+ (\S+) \S+ \S+ (?:-|(?:\[(?:[^\]"\\]|"(?:[^"\\]|\\.)*"|\\.)*\])+)(?: (.*))?$`)
	// RFC 3164, or with the time of RFC 3339 as Docker's log driver sends it:
	// time, host, program, process, text.
	header3164 = regexp.MustCompile(`^ ?(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT\S+) \S+ ([^\s:\[]+)(?:\[[^\]]*\])?: ?(.*)$`)
)

// syslogLine returns a message as one readable line, "severity program: text".
// It returns a message in an unknown format unchanged, but without control
// characters.
func syslogLine(message []byte) string {
	clean := printable(string(message))
	found := priority.FindStringSubmatch(clean)
	if found == nil {
		return clean
	}
	value, err := strconv.Atoi(found[1])
	if err != nil || value > 191 { // facility 23, severity 7
		return clean
	}
	severities := []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	return severities[value%8] + " " + withoutHeader(clean[len(found[0]):])
}

// withoutHeader reduces the text after a priority to "program: text". IPXE sends
// neither time nor program, so its text is returned whole.
func withoutHeader(text string) string {
	for _, header := range []*regexp.Regexp{header5424, header3164} {
		if m := header.FindStringSubmatch(text); m != nil {
			return strings.TrimPrefix(m[1]+": ", "-: ") + m[2]
		}
	}
	return strings.TrimPrefix(text, " ")
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.TrimRight(s, "\r\n\x00 "))
}
