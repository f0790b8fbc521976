// Package fault marks errors with what the pipeline must do about them.
//
// An unmarked error is transient: it is retried with backoff, without end and
// without losing place. Three marks change that: [Throttled], [Reject] and
// [Fatal]. Marks survive wrapping with %w.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// ThrottledError says that the other side asked for fewer requests.
type ThrottledError struct {
	After time.Duration // least time to wait; 0 when the other side named none
	Err   error
}

// Throttled marks err: slow down this credential only, for at least after.
func Throttled(after time.Duration, err error) error {
	return &ThrottledError{After: after, Err: err}
}

func (e *ThrottledError) Error() string {
	if e.After <= 0 {
		return "throttled: " + e.Err.Error()
	}
	return fmt.Sprintf("throttled for %v: %v", e.After, e.Err)
}

func (e *ThrottledError) Unwrap() error { return e.Err }

// RejectError says that one record can never succeed.
type RejectError struct {
	Class string // short stable word for metrics and consumers, such as "schema" or "too_large"
	Err   error
}

// Reject marks err: this record never succeeds and becomes a dead letter of
// the given class; its neighbours are not affected.
func Reject(class string, err error) error { return &RejectError{Class: class, Err: err} }

func (e *RejectError) Error() string { return e.Err.Error() }

func (e *RejectError) Unwrap() error { return e.Err }

// FatalError says that retrying cannot help until a person acts.
type FatalError struct {
	Remedy string // what to do, as a sentence
	Err    error
}

// Fatal marks err: wrong credentials, wrong configuration, a changed
// identity. The stream stops and shows remedy; the others go on.
func Fatal(err error, remedy string) error { return &FatalError{Remedy: remedy, Err: err} }

func (e *FatalError) Error() string {
	if e.Remedy == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Remedy
}

func (e *FatalError) Unwrap() error { return e.Err }

// IsFatal reports whether err is marked by [Fatal].
func IsFatal(err error) bool {
	_, ok := errors.AsType[*FatalError](err)
	return ok
}

// RetryAfter returns how long a throttled err asks to wait, and whether err
// is marked by [Throttled].
func RetryAfter(err error) (time.Duration, bool) {
	t, ok := errors.AsType[*ThrottledError](err)
	if !ok {
		return 0, false
	}
	return t.After, true
}

// Class returns the class of a rejected err, and whether err is marked by
// [Reject].
func Class(err error) (string, bool) {
	r, ok := errors.AsType[*RejectError](err)
	if !ok {
		return "", false
	}
	return r.Class, true
}
