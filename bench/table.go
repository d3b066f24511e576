package main

import (
	"fmt"
	"time"
)

// seconds, megabytes and mark format cells of tables.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func mark(yes bool) string {
	if yes {
		return "x"
	}
	return ""
}

// ratio formats theirs divided by ours.
func ratio[T ~int64](ours, other T) string {
	if ours == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(other)/float64(ours))
}

// pair formats three cells: ours, the other figure, and their ratio.
func pair[T ~int64](show func(T) string, ours, other T) string {
	return show(ours) + " | " + show(other) + " | " + ratio(ours, other)
}
