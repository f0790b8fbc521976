package httpx

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockDoubtsOneDate: a single Date far ahead is not believed, two that
// agree are; one behind is believed at once, and so is the first of all.
func TestClockDoubtsOneDate(t *testing.T) {
	for name, tt := range map[string]struct {
		dates []time.Duration // ahead of the true time, a second apart
		want  time.Duration
	}{
		"true":                   {[]time.Duration{0, 0}, 0},
		"the first":              {[]time.Duration{2 * time.Hour}, 2 * time.Hour},
		"one far ahead":          {[]time.Duration{0, 2 * time.Hour}, 0},
		"one far ahead, passing": {[]time.Duration{0, 2 * time.Hour, 0}, 0},
		"two that agree":         {[]time.Duration{0, 2 * time.Hour, 2 * time.Hour}, 2 * time.Hour},
		"two that differ":        {[]time.Duration{0, 2 * time.Hour, 5 * time.Hour}, 0},
		"behind":                 {[]time.Duration{0, -2 * time.Hour}, -2 * time.Hour},
		"a little ahead":         {[]time.Duration{0, 30 * time.Second}, 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var c Clock
			for _, ahead := range tt.dates {
				time.Sleep(time.Second)
				c.learn(http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}})
			}
			now, ok := c.Now()
			if got := time.Until(now); !ok || (got-tt.want).Abs() > time.Second {
				t.Errorf("%s: got %v ahead, %v, want %v", name, got, ok, tt.want)
			}
		})
	}
}

// TestClockObservedOutranksDate: what a provider says its time is stands
// against any number of Dates.
func TestClockObservedOutranksDate(t *testing.T) {
	for _, ahead := range []time.Duration{-2 * time.Hour, -2 * time.Minute, 2 * time.Minute, 2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var c Clock
			c.Observe(time.Now())
			for range 5 {
				time.Sleep(time.Second)
				c.learn(http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}})
			}
			if now, ok := c.Now(); !ok || !now.Equal(time.Now()) {
				t.Errorf("Dates %v ahead: got %v ahead, %v, want 0", ahead, time.Until(now), ok)
			}
			time.Sleep(clockLife)
			if now, ok := c.Now(); ok {
				t.Errorf("Dates %v ahead: got %v, want no time after %v without another observation", ahead, now, clockLife)
			}
		})
	}
}
