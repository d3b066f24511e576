//go:build e2e

package chain

// thorough asks for all ways, half a minute each and more.
const thorough = true
