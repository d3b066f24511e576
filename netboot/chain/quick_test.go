//go:build !e2e

package chain

// thorough says whether to try all combinations. One of them takes long enough.
const thorough = false
