package httpx

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// drip answers with pieces of so many bytes, one after each pause.
func drip(pieces, size int, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for range pieces {
			if _, err := fmt.Fprint(w, strings.Repeat("y", size)); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
		}
	}
}

const forever = 1 << 30

// TestSlow: what is slow ends when it would never end, and only then.
func TestSlow(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   int   // bytes
		is     error // nil: the answer is read to its end
		after  time.Duration
	}{
		{"slow and small", drip(70, 100, 4*time.Second), 7000, nil, 280 * time.Second},
		{"slow and large, for more than an hour", drip(1000, 8<<10, 4*time.Second), 1000 * 8 << 10, nil, 4000 * time.Second},
		{"silent", drip(forever, 100, 31*time.Second), 0, ErrIdle, 30 * time.Second},
		{"a byte every few seconds", drip(forever, 1, 5*time.Second), 0, ErrSlow, 5 * time.Minute},
		{"a trickle", drip(forever, 1700, time.Second), 0, ErrSlow, 5 * time.Minute},
		{"a trickle at last", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, strings.Repeat("y", 10<<20))
			drip(forever, 100, 10*time.Second)(w, r)
		}, 0, ErrSlow, 10 * time.Minute},
		{"refused, byte by byte", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			drip(forever, 1, time.Second)(w, r)
		}, 0, errStatus, drainTime},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := inBubble(t, Options{}, tt.answer)
			began := time.Now()
			got, err := get(t.Context(), c, "http://pipe")
			if _, refused := errors.AsType[*StatusError](err); refused {
				err = errStatus
			}
			if !errors.Is(err, tt.is) || err == nil && len(got) != tt.want {
				t.Errorf("%s: got %d bytes, %v, want %d, %v", tt.name, len(got), err, tt.want, tt.is)
			}
			if took := time.Since(began); took < tt.after || took > tt.after+time.Minute {
				t.Errorf("%s: took %v, want about %v", tt.name, took, tt.after)
			}
		})
	}
}

// errStatus stands for any StatusError.
var errStatus = errors.New("a status")

// TestBusyReader: the time that a reader takes is not the answer's.
func TestBusyReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20
		c := inBubble(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("y", size)) })
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://pipe", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for got := 0; got < size; got += 64 << 10 {
			if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

func TestContextEndsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, Options{}, drip(forever, 100, time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := get(ctx, c, "http://pipe")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second {
			t.Errorf("got %v after %v, want the context's error after 10s", err, took)
		}
	})
}

// zipped answers with size bytes, compressed to a thousandth.
func zipped(status, size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		piece := bytes.Repeat([]byte("x"), 1<<20)
		for ; size > 0; size -= len(piece) {
			_, _ = z.Write(piece[:min(size, len(piece))])
		}
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes())
	}
}

// TestLargest: limits count what a reader gets, not what went over the wire.
func TestLargest(t *testing.T) {
	const limit = 1 << 20
	plain := func(size int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", size)) }
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		is     error
	}{
		"plain": {plain(limit), nil}, "plain, too large": {plain(limit + 1), ErrTooLarge},
		"gzip": {zipped(200, limit), nil}, "gzip bomb": {zipped(200, 8<<20), ErrTooLarge},
	} {
		c, base := newTest(t, Options{MaxBody: limit}, tt.answer)
		got, err := get(t.Context(), c, base)
		if !errors.Is(err, tt.is) || err == nil && len(got) != limit || len(got) > limit+bufferBytes {
			t.Errorf("%s: got %d bytes, %v, want at most %d, %v", name, len(got), err, limit, tt.is)
		}
	}
	c, base := newTest(t, Options{}, zipped(500, 8<<20))
	_, err := get(t.Context(), c, base)
	if status, ok := errors.AsType[*StatusError](err); !ok || len(status.Body) != maxErrorBody {
		t.Errorf("bomb of an error: got %v, want %d bytes of its body", err, maxErrorBody)
	}
}
