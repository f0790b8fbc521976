package apisim

import (
	"context"
	"io"
	"iter"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// simulator is what both simulators share: the world, its log, the faults, and serving.
type simulator struct {
	*world
	*truth
	// Faults says which answers go wrong.
	Faults Faults
	// Gzip makes answers that Serve gives compressed, for clients that take gzip. Faults count bytes before compression.
	Gzip atomic.Bool

	clock func() time.Time

	answering sync.RWMutex // read-locked by each answer under way; guards frozen
	frozen    bool

	serving sync.Mutex
	servers []server
	running sync.WaitGroup // Serve loops and connections
}

// server is one listener being served.
type server struct {
	*http.Server
	cancel context.CancelFunc // ends the context of its requests
}

// connKey is the context key of a request's net.Conn.
type connKey struct{}

func newSimulator(p Population, by provider, clock func() time.Time, noLog bool) *simulator {
	if clock == nil {
		clock = time.Now
	}
	return &simulator{
		world: newWorld(p.withDefaults(clock(), by.tick), by),
		truth: newTruth(noLog),
		clock: clock,
	}
}

// serve answers requests on l with h in the background and returns the base URL.
func (s *simulator) serve(l net.Listener, h http.Handler) string {
	ctx, cancel := context.WithCancel(context.Background())
	srv := server{cancel: cancel}
	srv.Server = &http.Server{
		Handler:           s.compressing(h),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // still in the Serve loop, which holds running above zero
				s.running.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.running.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	s.serving.Lock()
	defer s.serving.Unlock()
	s.servers = append(s.servers, srv)
	s.running.Go(func() { _ = srv.Serve(l) })
	return "http://" + l.Addr().String()
}

// Close closes all listeners and connections and waits until their goroutines have ended. Requests under way are cut off.
// It is safe to call twice; the handler itself works on.
func (s *simulator) Close() error {
	s.serving.Lock()
	servers := s.servers
	s.servers = nil
	s.serving.Unlock()
	var first error
	for _, srv := range servers {
		if err := srv.Close(); err != nil && first == nil {
			first = err
		}
		srv.cancel() // only now, or handlers that wait for it could still answer
	}
	s.running.Wait()
	return first
}

// Current lists the versions that the rows of a stream have now, in order of creation and without poison rows: what a reader
// must have published last once it has caught up.
func (s *simulator) Current(stream string) []Version {
	s.answering.RLock()
	defer s.answering.RUnlock()
	now := s.clock()
	q := query{stream: stream, from: time.Unix(0, 0), to: now.AddDate(1, 0, 0), now: now}
	var versions []Version
	for it := range s.rows(q) {
		if _, e := s.show(it, now); e.poison == "" {
			versions = append(versions, e.Version)
		}
	}
	return versions
}

// shuffled yields the items of seq in blocks, each in an order drawn from r. A block ends after size items, and before an item
// that same says may not change places with the block's first.
func shuffled(seq iter.Seq[item], r *rand.Rand, size int, same func(a, b item) bool) iter.Seq[item] {
	return func(yield func(item) bool) {
		var block []item
		flush := func() bool {
			r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
			for _, it := range block {
				if !yield(it) {
					return false
				}
			}
			block = block[:0]
			return true
		}
		for it := range seq {
			full := len(block) == size || len(block) > 0 && !same(block[0], it)
			if full && !flush() {
				return
			}
			block = append(block, it)
		}
		flush()
	}
}
