package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"connector/internal/fault"
	"connector/pipeline"
	"connector/sinks"
)

// endpoints serve /healthz, /readyz and /metrics.
type endpoints struct {
	listener net.Listener
	server   *http.Server
	pipeline atomic.Pointer[shown] // nil until it is made
}

// shown is what the endpoints show.
type shown struct {
	*pipeline.Pipeline
	guarantee sinks.Guarantee
}

func listen(ctx context.Context, addr string, metrics prometheus.Gatherer) (*endpoints, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("listening on %s: %w", addr, err), "free the port or set CONNECTOR_HTTP_ADDR to another")
	}
	e := &endpoints{listener: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", e.healthz)
	mux.HandleFunc("GET /readyz", e.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	go func() { _ = e.server.Serve(l) }() // ends with Close
	return e, nil
}

func (e *endpoints) addr() string { return e.listener.Addr().String() }

func (e *endpoints) show(p *pipeline.Pipeline, guarantee sinks.Guarantee) {
	e.pipeline.Store(&shown{p, guarantee})
}

// Close stops serving at once.
func (e *endpoints) Close() error { return e.server.Close() }

// healthz answers 200 while the process works, whatever providers and sink do.
func (e *endpoints) healthz(w http.ResponseWriter, _ *http.Request) {
	if p := e.pipeline.Load(); p != nil && !p.Alive() {
		http.Error(w, "a stream gives no sign of life", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// readyz answers 200 while the sink is open and some account works, with what
// the sink promises and the state of every stream.
func (e *endpoints) readyz(w http.ResponseWriter, _ *http.Request) {
	p := e.pipeline.Load()
	if p == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !p.Ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": p.Ready(), "guarantee": p.guarantee, "streams": p.Streams()})
}
