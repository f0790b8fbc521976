// Package failpoint names the steps of a commit at which tests kill the
// process. In a binary built with the tag failpoint, [Hit] kills the process by
// SIGKILL when it reaches the step that CONNECTOR_FAILPOINT names, for the
// CONNECTOR_FAILPOINT_HIT-th time (1 unless set), and pauses for a second each
// time it reaches the step of CONNECTOR_FAILPOINT_PAUSE; in any other it does
// nothing.
package failpoint

// Point is a step of a commit.
type Point string
