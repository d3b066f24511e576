package face

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// columns returns left and right in exactly width columns. It truncates left with an
// ellipsis, and leaves out right if that is too wide.
func columns(left, right string, width int) string {
	if right == "" {
		return pad(left, width)
	}
	room := width - ansi.StringWidth(right) - 2
	if room < 8 {
		return pad(left, width)
	}
	return pad(left, room) + "  " + right
}

// pad truncates or fills s to width columns. Wide characters count as two.
func pad(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// brief formats a duration in its largest unit, rounded up: "4 s", "3 min".
func brief(d time.Duration) string {
	switch up := func(unit time.Duration) int { return int((d + unit - 1) / unit) }; {
	case d <= 99*time.Second:
		return fmt.Sprintf("%d s", up(time.Second))
	case d <= 99*time.Minute:
		return fmt.Sprintf("%d min", up(time.Minute))
	default:
		return fmt.Sprintf("%d h", up(time.Hour))
	}
}

// seconds formats a duration for people: "4 s", "2 min 5 s".
func seconds(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
}
