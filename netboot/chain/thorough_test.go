//go:build e2e

package chain

// thorough says whether to try all combinations. Each takes half a minute or more.
const thorough = true
