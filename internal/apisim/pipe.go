package apisim

import (
	"context"
	"net"
	"sync"
)

// PipeListener is a listener in memory: each connection is a net.Pipe, so that client and server can both live in a
// testing/synctest bubble, where sockets hang. Make it inside the bubble.
type PipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// NewPipeListener returns a listener that DialContext connects to.
func NewPipeListener() *PipeListener {
	return &PipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// DialContext connects to the listener, whatever the address: it fits http.Transport.DialContext. It waits until the connection is
// accepted and fails when ctx ends or the listener is closed.
func (l *PipeListener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: ctx.Err()}
	}
}

// Accept waits for the next connection; it returns net.ErrClosed after Close.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and DialContext; connections already made stay open.
func (l *PipeListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr returns the address "pipe".
func (l *PipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
