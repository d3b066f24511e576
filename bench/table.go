package main

import (
	"fmt"
	"time"
)

// seconds, megabytes and mark are the cells of tables.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func mark(yes bool) string {
	if yes {
		return "x"
	}
	return ""
}

// ratio says how many times ours the other figure is.
func ratio[T ~int64](ours, other T) string {
	if ours == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(other)/float64(ours))
}

// pair is three cells: ours, the other figure, and how many times ours it is.
func pair[T ~int64](show func(T) string, ours, other T) string {
	return show(ours) + " | " + show(other) + " | " + ratio(ours, other)
}
