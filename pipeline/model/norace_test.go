//go:build !race

package model

// raced is whether the race detector, which slows a history down tenfold, is in the build.
const raced = false
