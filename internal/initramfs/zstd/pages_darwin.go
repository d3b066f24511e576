package zstd

// preferHugePages does nothing: macOS chooses the size of pages itself.
func preferHugePages([]byte) {}
