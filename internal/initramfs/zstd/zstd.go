// Package zstd compresses a stream into exactly one Zstandard frame (RFC 8878)
// with a window as large as the kernel accepts, on all cores.
//
// It exists because a root file system consists of a few large programs that
// share code: the matches lie tens of MiB apart. klauspost/compress finds such
// distant matches only at its slowest level, if at all, and its output in the
// time that a build has is larger than that of `zstd -9`. Here a first pass
// finds long matches over the whole window by hashes of sampled positions,
// while a second, in parallel, looks for short ones nearby. The package writes
// no dictionaries and does not decompress; the library does that.
//
// The output depends on the content and the [Options] other than Jobs.
package zstd

import "math/bits"

// The bounds of [Options.Window], in bytes. Kernels reject larger windows.
const (
	MinWindow = 1 << 17
	MaxWindow = 1 << 27
)

// DefaultWindow is the window that pays for root file systems: the
// demonstration's 295 MB compress to 81.2 MB with 64 MiB, to 78.4 MB with 88 MiB
// and to 77.5 MB with 128 MiB.
const DefaultWindow = 88 << 20

// MaxLevel is the slowest level.
const MaxLevel = 19

// defaultLevel is the level used for 0.
const defaultLevel = 3

// Options specify how a [Writer] compresses.
type Options struct {
	// Level is from 1 to MaxLevel, as for the zstd tool: higher levels are
	// treated as MaxLevel, 0 as defaultLevel.
	Level int
	// Window is how far back matches are found, in bytes. It is rounded up by
	// at most an eighth; decompressing needs as much memory.
	Window int
	// Jobs is the number of compressing goroutines, at least 1.
	Jobs int
}

// effort is the meaning of a level.
type effort struct {
	depth  int  // number of earlier positions compared; 0: at most two, see fastFinder
	ahead  int  // number of following positions tried for a better match; not for depth 0
	nice   int  // a match of this many bytes is taken at once; not for depth 0
	stride uint // the step grows after every 1<<stride bytes without a match
}

func (o Options) effort() effort {
	level := o.Level
	if level == 0 {
		level = defaultLevel
	}
	efforts := [MaxLevel]effort{
		{0, 0, 0, 6}, {0, 0, 0, 7}, {0, 0, 0, 8}, {1, 1, 64, 8}, {2, 1, 64, 8}, {2, 1, 96, 8}, {3, 1, 96, 8}, {4, 1, 128, 8}, {4, 2, 128, 8},
		{8, 2, 256, 8}, {16, 2, 256, 8}, {24, 2, 384, 8}, {32, 2, 512, 8}, {48, 2, 512, 8}, {64, 2, 768, 8}, {96, 2, 1024, 8},
		{128, 2, 2048, 8}, {256, 2, 4096, 8}, {512, 2, 8192, 8},
	}
	return efforts[min(max(level, 1), MaxLevel)-1]
}

// window returns the smallest size in a frame header that covers the one asked
// for, and its descriptor: a power of 2 plus eighths of it (RFC 8878,
// 3.1.1.1.2).
func (o Options) window() (size int, descriptor byte) {
	asked := min(max(o.Window, MinWindow), MaxWindow)
	log := bits.Len(uint(asked)) - 1
	eighth := 1 << (log - 3)
	eighths := (asked - 1<<log + eighth - 1) / eighth
	return 1<<log + eighths*eighth, byte((log-10)<<3 + eighths)
}
