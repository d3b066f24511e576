//go:build !e2e

package chain

// thorough is false where the first way alone is tried: it takes long enough.
const thorough = false
