package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// syslogService prints what iPXE and HookOS's Docker log.
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

// longestMessage is the most that a UDP datagram carries.
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

// syslogLine makes one readable line of a message: "severity program: text".
// What is in neither format is shown as it came. Control characters never
// reach the terminal.
func syslogLine(message []byte) string {
	clean := printable(string(message))
	base := parseSyslog([]byte(clean))
	if base == nil {
		return bareLine(clean)
	}
	var b strings.Builder
	if s := base.SeverityShortLevel(); s != nil {
		b.WriteString(*s + " ")
	}
	if base.Appname != nil {
		b.WriteString(*base.Appname + ": ")
	}
	if base.Message != nil {
		b.WriteString(*base.Message)
	}
	return b.String()
}

func parseSyslog(message []byte) *syslog.Base {
	if m, err := rfc5424.NewParser().Parse(message); err == nil {
		if m, ok := m.(*rfc5424.SyslogMessage); ok {
			return &m.Base
		}
	}
	if m, err := rfc3164.NewParser(rfc3164.WithYear(rfc3164.CurrentYear{})).Parse(message); err == nil {
		if m, ok := m.(*rfc3164.SyslogMessage); ok {
			return &m.Base
		}
	}
	return nil
}

// bareLine reads what iPXE sends: a priority, then no time stamp.
func bareLine(message string) string {
	priority, rest, ok := strings.Cut(strings.TrimPrefix(message, "<"), ">")
	n, err := strconv.ParseUint(priority, 10, 8)
	if !ok || err != nil || message[0] != '<' {
		return message
	}
	severity := uint8(n % 8)
	return *(&syslog.Base{Severity: &severity}).SeverityShortLevel() + " " + rest
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
