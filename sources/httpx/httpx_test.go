package httpx

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"connector/internal/budget"
	"connector/internal/fault"
	"connector/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "yI8byd:x_TQ2s00"

// get sends one request with a secret parameter and reads the whole answer.
func get(ctx context.Context, c *Client, base string) (string, error) {
	u := base + "/logs?accessToken=" + url.QueryEscape(token) + "&startDate=1"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// newTest returns a client of a server with handler h, both closed at the end.
func newTest(t *testing.T, opts Options, h http.HandlerFunc) (*Client, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	tr := NewTransport(nil)
	opts.Transport, opts.Version = tr, "1.2.3"
	t.Cleanup(func() { tr.CloseIdleConnections(); srv.Close() })
	return New(opts, []string{"accessToken"}, secret.New("canary-app-key")), srv.URL
}

func leaks(text string) bool {
	for _, s := range []string{token, url.QueryEscape(token), url.PathEscape(token), "canary-app-key"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name      string
		answer    http.HandlerFunc
		wantBody  string
		wantErr   string // part of the text; empty: no error
		throttled time.Duration
		is        error
	}{
		{"data", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"a":1}`) }, `{"a":1}`, "", -1, nil},
		{"JSON labelled as HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, ` {"a":1}`)
		}, ` {"a":1}`, "", -1, nil},
		{"XML", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<?xml version='1.0'?><xml/>") }, "<?xml version='1.0'?><xml/>", "", -1, nil},
		{"empty", func(http.ResponseWriter, *http.Request) {}, "", "", -1, nil},
		{"web page", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, bom+"\n<!-- x --> <!DOCTYPE html><title>Sign in "+token+"</title>")
		}, "", "Sign in ****", -1, ErrHTML},
		{"403 that echoes the token", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			fmt.Fprintf(w, "bad\n token %s at %s canary-app-key %s", token, r.URL, strings.Repeat("试", 100))
		}, "", `HTTP 403 Forbidden: "bad token **** at /logs?accessToken=****&startDate=1 **** 试`, -1, nil},
		{"429 in seconds", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}, "", "429", 7 * time.Second, nil},
		{"429 without a time", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "", "429", 0, nil},
		{"503 with a date, counted from the provider's clock", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
			w.Header().Set("Retry-After", "Mon, 02 Jan 2006 15:04:35 GMT")
			w.WriteHeader(503)
		}, "", "503", 30 * time.Second, nil},
		{"503 far too long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "99999999999999")
			w.WriteHeader(503)
		}, "", "503", time.Hour, nil},
		{"429 with a number beyond all", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", strings.Repeat("9", 40))
			w.WriteHeader(429)
		}, "", "429", time.Hour, nil},
		{"429 with a date years ahead", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")
			w.WriteHeader(429)
		}, "", "429", time.Hour, nil},
		{"429 with a date gone by", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "Mon, 02 Jan 2006 15:04:35 GMT")
			w.WriteHeader(429)
		}, "", "429", 0, nil},
		{"429 with a negative number", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-5")
			w.WriteHeader(429)
		}, "", "429", 0, nil},
		{"503 with nonsense", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "soon")
			w.WriteHeader(503)
		}, "", "503", -1, nil},
		{"503 alone is a server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "", "503", -1, nil},
		{"cut by length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"a":`)
		}, "", "unexpected EOF", -1, io.ErrUnexpectedEOF},
		{"cut in a chunk", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat("x", 100_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "", "unexpected EOF", -1, io.ErrUnexpectedEOF},
		{"cut in gzip", func(w http.ResponseWriter, _ *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			fmt.Fprint(z, strings.Repeat("some text ", 1000))
			_ = z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(b.Bytes()[:b.Len()-10])
		}, "", "unexpected EOF", -1, io.ErrUnexpectedEOF},
		{"redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/x?accessToken="+token, http.StatusFound)
		}, "", "redirect refused: to https://elsewhere.example;", -1, ErrRedirect},
		{"redirect within the host", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/logs" {
				http.Redirect(w, r, "/moved?"+r.URL.RawQuery, http.StatusFound)
				return
			}
			fmt.Fprint(w, "moved")
		}, "moved", "", -1, nil},
		{"redirect to another scheme", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+"/logs", http.StatusMovedPermanently)
		}, "", "redirect refused: to https://127.0.0.1:", -1, ErrRedirect},
		{"redirects without end", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/logs", http.StatusFound) }, "", "redirect refused: more than 5", -1, ErrRedirect},
		{"connection closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", "EOF", -1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, base := newTest(t, Options{}, tt.answer)
			got, err := get(t.Context(), c, base)
			if tt.wantErr == "" {
				if err != nil || got != tt.wantBody {
					t.Fatalf("got %q, %v, want %q", got, err, tt.wantBody)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("got error %v, want one with %q", err, tt.wantErr)
			}
			if leaks(err.Error()) || len(err.Error()) > 600 {
				t.Errorf("error of %d bytes leaks: %v", len(err.Error()), leaks(err.Error()))
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want it to be %v", err, tt.is)
			}
			if after, ok := fault.RetryAfter(err); ok != (tt.throttled >= 0) || ok && after != tt.throttled {
				t.Errorf("got throttled %v for %v, want %v", ok, after, tt.throttled)
			}
		})
	}
}

// TestRedirectedPost: a request that carries its credential in the body is not
// sent again, nor turned into a GET.
func TestRedirectedPost(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		requests := 0
		c, base := newTest(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			requests++
			http.Redirect(w, r, "/moved", status)
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base, strings.NewReader("appkey=canary-app-key"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(req) //nolint:bodyclose // there is none with an error
		if !errors.Is(err, ErrRedirect) || !strings.Contains(err.Error(), "of a POST request") || requests != 1 {
			t.Errorf("%d: got %v after %d requests, want ErrRedirect after 1", status, err, requests)
		}
	}
}

// TestWebPage tells web pages of gateways and firewalls from the API's refusals.
func TestWebPage(t *testing.T) {
	for body, want := range map[string]bool{
		"<html><head><title>403 Forbidden</title>":                 true,
		bom + " \n<!DOCTYPE HTML PUBLIC \"-//W3C//DTD\">":          true,
		"<!doctypehtml><title>blocked</title>":                     true,
		"<?xml version=\"1.0\"?>\n<!-- x --><!DOCTYPE html PUBLIC": true,
		"<script>location='/login'</script>":                       true,
		"<!-- without end":                                         true,
		"<?xml version=\"1.0\"?><xml><status>error":                false,
		"<?xml without end":                                        false,
		`{"errorCode":403,"errorMessage":"<html>"}`:                false,
		"未授权": false,
		"":    false,
	} {
		c, base := newTest(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, body)
		})
		_, err := get(t.Context(), c, base)
		if status, ok := errors.AsType[*StatusError](err); !ok || status.WebPage() != want {
			t.Errorf("%q: got %v, want a web page %v", body, err, want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := New(Options{Logger: logger}, []string{"accessToken"})
	_, err = get(t.Context(), c, "http://user:canary-app-key@"+l.Addr().String())
	if err == nil || leaks(err.Error()) || !strings.Contains(err.Error(), "accessToken=****&startDate=1: dial tcp") {
		t.Errorf("got %v, want a redacted dial error", err)
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		t.Error("the error holds a url.Error, whose URL is not redacted")
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Error("the error lost its cause")
	}
	if got := logged.String(); leaks(got) || !strings.Contains(got, "accessToken=****") {
		t.Errorf("got log %s, want the redacted URL", got)
	}
}

func TestHeaders(t *testing.T) {
	got := make(chan http.Header, 1)
	c, base := newTest(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	if _, err := get(t.Context(), c, base); err != nil {
		t.Fatal(err)
	}
	h := <-got
	if h.Get("User-Agent") != "connector/1.2.3" || h.Get("Accept-Encoding") != "gzip" {
		t.Errorf("got headers %v, want the program's User-Agent and gzip", h)
	}
}

func TestShortToken(t *testing.T) {
	u := &url.URL{Scheme: "http", Host: "x", RawQuery: "a=abc&accessToken=abc&%61ccessToken=d&b"}
	if got, want := newRedactor([]string{"accessToken"}, nil).url(u), "http://x?a=abc&accessToken=****&%61ccessToken=****&b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecretThatBeginsAnother(t *testing.T) {
	r := newRedactor(nil, []secret.String{secret.New("abcd"), secret.New("abcdefgh"), secret.New("xyz")})
	if got, want := r.text("abcdefgh abcd xyz"), "**** **** xyz"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// inBubble returns a client whose server, on net.Pipe, answers with h, for a test in a synctest bubble.
func inBubble(t *testing.T, opts Options, h http.HandlerFunc) *Client {
	t.Helper()
	conns := make(chan net.Conn)
	tr := NewTransport(func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case conns <- server:
			return client, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	l := &listener{conns: conns, done: make(chan struct{})}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
	})
	opts.Transport = tr
	return New(opts, []string{"accessToken"})
}

type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { close(l.done); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestClock(t *testing.T) {
	provider := func() time.Time { return time.Now().Add(-10 * time.Minute) } // their clock is 10 minutes slow
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", provider().UTC().Format(http.TimeFormat))
			time.Sleep(2 * time.Second) // on its way
		})
		if _, ok := c.Clock().Now(); ok {
			t.Error("a clock without observation tells a time")
		}
		time.Sleep(700 * time.Millisecond)
		if _, err := get(t.Context(), c, "http://pipe"); err != nil {
			t.Fatal(err)
		}
		for range 9 {
			time.Sleep(time.Minute)
			got, ok := c.Clock().Now()
			if behind := provider().Sub(got); !ok || behind < 0 || behind > 3*time.Second {
				t.Errorf("got %v, %v: %v behind the provider, want 0 to 3s", got, ok, behind)
			}
		}
		time.Sleep(time.Minute)
		if _, ok := c.Clock().Now(); ok {
			t.Error("an observation of 10 minutes ago is still believed")
		}
	})
}

// TestWhoseClock checks that the clocks of gateways and portals do not count.
func TestWhoseClock(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   bool
	}{
		"data": {200, "{}", true}, "refused": {403, "no", true}, "gateway": {502, "{}", false}, "portal": {200, "<html>", false}, "proxy": {404, "<html>", false},
	} {
		c, base := newTest(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		_, _ = get(t.Context(), c, base)
		if _, got := c.Clock().Now(); got != tt.want {
			t.Errorf("%s: got a clock %v, want %v", name, got, tt.want)
		}
	}
}

func TestHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		_, err := get(t.Context(), c, "http://pipe")
		if took := time.Since(began); err == nil || took != headerTimeout {
			t.Errorf("got %v after %v, want an error after %v", err, took, headerTimeout)
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Budget: budget.New(time.Minute)}, nil)
		began := time.Now()
		for range 3 {
			if err := c.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(began), 2*time.Minute; got != want {
			t.Errorf("three requests took %v, want %v", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.Wait(ctx); !errors.Is(err, context.Canceled) || time.Since(began) > 121*time.Second {
			t.Errorf("got %v after %v, want the context's error at once", err, time.Since(began))
		}
		c.http.CloseIdleConnections()
	})
}
