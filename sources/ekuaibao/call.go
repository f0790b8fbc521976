package ekuaibao

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"connector/internal/budget"
	"connector/sources/httpx"
)

// maxReply is the most bytes of a small answer: a token, a base URL.
const maxReply = 64 << 10

// call sends a request that all streams wait for, in the turn of the most
// urgent ones, and returns its small answer. body is JSON, or nil.
func call(ctx context.Context, client *httpx.Client, method, url string, body []byte) ([]byte, error) {
	if err := client.Wait(budget.With(ctx, budget.Live)); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return answer, errors.Join(err, resp.Body.Close())
}

// lock is a mutex; waiting for it ends with a context.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) release() { <-l }
