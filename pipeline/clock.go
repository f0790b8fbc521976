package pipeline

import (
	"fmt"
	"time"
)

// clockSlack is by how much a provider's time may run ahead of what passed
// here since it was asked before.
const clockSlack = time.Minute

// clock guards against a wrong time of the provider: once a range counts as
// settled it is not read again, so one bad answer must not settle the future.
type clock struct {
	provider, local time.Time // of the latest answer; zero before the first
}

// check returns now, unless it lies ahead of the time that passed since the
// answer before. Such a time is an error once; an answer that agrees with it
// is believed. A time behind the one before is believed: it settles nothing.
func (c *clock) check(now time.Time) (time.Time, error) {
	was, passed := c.provider, time.Since(c.local)
	c.provider, c.local = now, time.Now()
	if was.IsZero() || now.Sub(was) <= passed+clockSlack {
		return now, nil
	}
	return time.Time{}, fmt.Errorf("the provider's time jumped ahead to %s, %v after the answer before said %s; asking again",
		now.UTC().Format(time.RFC3339), passed.Round(time.Second), was.UTC().Format(time.RFC3339))
}
