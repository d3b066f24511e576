// Package zstd compresses a stream into exactly one Zstandard frame (RFC 8878)
// with a window as large as the kernel takes, on all cores.
//
// It exists because a root file system is a few large programs that share what
// they were compiled from: the copies lie tens of MiB apart. klauspost/compress
// finds such distant repetitions at its slowest level alone, if at all, and what
// it makes in the time that a build has is larger than what `zstd -9` makes.
// Here a first pass finds long repetitions over the whole window by hashes of a
// few chosen positions, while the second, in parallel, looks for short ones
// nearby. It writes no dictionaries and reads nothing; reading is what the
// library is for.
//
// The bytes depend on the content and the [Options] other than Jobs.
package zstd

import "math/bits"

// The bounds of a window, in bytes, that [Options] may ask for. Larger ones are
// refused by kernels.
const (
	MinWindow = 1 << 17
	MaxWindow = 1 << 27
)

// DefaultWindow is the window that pays for root file systems: of the
// demonstration's 295 MB, 64 MiB leave 81.2 MB, 88 MiB 78.4 and 128 MiB 77.5.
const DefaultWindow = 88 << 20

// MaxLevel is the level that looks the longest.
const MaxLevel = 19

// DefaultLevel is the one for 0.
const DefaultLevel = 3

// Options say how a [Writer] compresses.
type Options struct {
	// Level is from 1 to MaxLevel, as the zstd tool's: higher ones are taken
	// for MaxLevel, 0 for DefaultLevel.
	Level int
	// Window is how far back repetitions are found, in bytes. It is rounded up
	// by an eighth at most; whoever decompresses needs as much memory.
	Window int
	// Jobs is the number of goroutines that compress, 1 at least.
	Jobs int
}

// effort is what a level means.
type effort struct {
	depth  int  // how many earlier places are compared; 0: at most two, see fastFinder
	ahead  int  // how many positions may bring something better; not for depth 0
	nice   int  // a copy of this many bytes is taken at once; not for depth 0
	stride uint // every 1<<stride bytes without copies the steps become longer
}

func (o Options) effort() effort {
	level := o.Level
	if level == 0 {
		level = DefaultLevel
	}
	efforts := [MaxLevel]effort{
		{0, 0, 0, 6}, {0, 0, 0, 7}, {0, 0, 0, 8}, {1, 1, 64, 8}, {2, 1, 64, 8}, {2, 1, 96, 8}, {3, 1, 96, 8}, {4, 1, 128, 8}, {4, 2, 128, 8},
		{8, 2, 256, 8}, {16, 2, 256, 8}, {24, 2, 384, 8}, {32, 2, 512, 8}, {48, 2, 512, 8}, {64, 2, 768, 8}, {96, 2, 1024, 8},
		{128, 2, 2048, 8}, {256, 2, 4096, 8}, {512, 2, 8192, 8},
	}
	return efforts[min(max(level, 1), MaxLevel)-1]
}

// window gives the size that the frame's header can say for what was asked for,
// and the byte there: a power of 2 and eighths of it (RFC 8878, 3.1.1.1.2).
func (o Options) window() (size int, descriptor byte) {
	asked := min(max(o.Window, MinWindow), MaxWindow)
	log := bits.Len(uint(asked)) - 1
	eighth := 1 << (log - 3)
	eighths := (asked - 1<<log + eighth - 1) / eighth
	return 1<<log + eighths*eighth, byte((log-10)<<3 + eighths)
}
