package ekuaibao

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/budget"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

const (
	tokenPath   = "/api/openapi/v1/auth/getAccessToken" //nolint:gosec // a path, no credential
	tokenMargin = 5 * time.Minute                       // a token is renewed so long before it expires, or a tenth of its life
	freshFor    = 10 * time.Second                      // a token just issued may be refused for a moment
	freshWait   = time.Second
	maxToken    = 64 << 10 // bytes of an answer with a token
)

// token is an access token.
type token struct {
	value   secret.String
	issued  time.Time // local time; compared by its monotonic reading
	renewAt time.Time // provider's time; zero: when it is refused
}

// tokens gets access tokens and keeps the latest. It is safe for concurrent use.
type tokens struct {
	client   *httpx.Client
	cfg      Config
	variable func(suffix string) string
	wait     time.Duration // before a token just issued and refused is tried again
	lock     chan struct{} // holds one element while current is in use
	current  token
}

func newTokens(client *httpx.Client, cfg Config, variable func(string) string) *tokens {
	return &tokens{client: client, cfg: cfg, variable: variable, wait: freshWait, lock: make(chan struct{}, 1), current: token{value: cfg.AccessToken}}
}

func (t *tokens) fixed() bool { return !t.cfg.AccessToken.IsZero() }

// use calls ask with a token. A token that is refused right after it was
// issued is tried once more a moment later; one that is refused for good is
// replaced once. Then the refusal is fatal.
func (t *tokens) use(ctx context.Context, ask func(secret.String) error) error {
	tok, err := t.get(ctx, secret.String{})
	if err != nil {
		return err
	}
	for waited, replaced := false, false; ; {
		err := ask(tok.value)
		if e, ok := errors.AsType[*apiError](err); !ok || !e.denied() {
			return err
		}
		switch fresh := replaced || time.Since(tok.issued) < freshFor; {
		case t.fixed():
			return fault.Fatal(err, "the access token is not accepted; renew "+t.variable("ACCESS_TOKEN"))
		case fresh && !waited:
			waited = true
			if err := sleep(ctx, t.wait); err != nil {
				return err
			}
		case !replaced:
			replaced, waited = true, false
			if tok, err = t.get(ctx, tok.value); err != nil {
				return err
			}
		default:
			return fault.Fatal(err, "a new access token is not accepted; check that the application of "+t.keys()+" may read outbound messages")
		}
	}
}

func (t *tokens) keys() string {
	return t.variable("APP_KEY") + " and " + t.variable("APP_SECURITY")
}

// get returns the current token, or a new one when that is due or the given
// one, which was refused.
func (t *tokens) get(ctx context.Context, refused secret.String) (token, error) {
	select {
	case t.lock <- struct{}{}:
		defer func() { <-t.lock }()
	case <-ctx.Done():
		return token{}, ctx.Err()
	}
	held := t.current.value.Reveal()
	if t.fixed() || held != "" && held != refused.Reveal() && !t.due() {
		return t.current, nil
	}
	tok, err := t.issue(ctx)
	if err != nil {
		return token{}, fmt.Errorf("getting an access token: %w", err)
	}
	t.current = tok
	return tok, nil
}

func (t *tokens) due() bool {
	return !t.current.renewAt.IsZero() && !t.now().Before(t.current.renewAt)
}

func (t *tokens) now() time.Time {
	if now, ok := t.client.Clock().Now(); ok {
		return now
	}
	return time.Now()
}

// issue asks for a new token.
func (t *tokens) issue(ctx context.Context) (token, error) {
	body, err := json.Marshal(map[string]string{"appKey": t.cfg.AppKey.Reveal(), "appSecurity": t.cfg.AppSecurity.Reveal()})
	if err != nil {
		return token{}, fault.Fatal(errors.New("the key is not UTF-8"), "check "+t.keys())
	}
	if err := t.client.Wait(budget.With(ctx, budget.Live)); err != nil { // all streams wait for it, whoever came first
		return token{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(t.cfg.BaseURL)+tokenPath, bytes.NewReader(body))
	if err != nil {
		return token{}, errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return token{}, t.refused(err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return token{}, err
	}
	return t.read(answer)
}

// refused tells a wrong key from a provider in trouble.
func (t *tokens) refused(err error) error {
	if status, ok := errors.AsType[*httpx.StatusError](err); ok && !status.WebPage() && wrongKey(strconv.Itoa(status.Status)) {
		return fault.Fatal(err, "check "+t.keys())
	}
	return unanswered(err, t.variable("BASE_URL"))
}

// wrongKey reports whether a status or an inner code blames the request.
func wrongKey(code string) bool { return slices.Contains([]string{"400", "401", "403", "412"}, code) }

// read decodes an answer with a token.
func (t *tokens) read(answer []byte) (token, error) {
	var got struct {
		Value *struct {
			AccessToken *jsonrows.Text `json:"accessToken"`
			ExpireTime  *jsonrows.Int  `json:"expireTime"`
		} `json:"value"`
		ErrorCode    jsonrows.Text `json:"errorCode"`
		Code         jsonrows.Text `json:"code"`
		ErrorMessage jsonrows.Text `json:"errorMessage"`
		Msg          jsonrows.Text `json:"msg"`
	}
	if err := jsonrows.Decode(answer, &got); err != nil {
		return token{}, fmt.Errorf("reading the answer: %w", err)
	}
	if got.Value == nil || got.Value.AccessToken.Trimmed() == "" {
		err, found := apiErrorOf(map[string]string{
			"errorCode": string(got.ErrorCode), "code": string(got.Code),
			"errorMessage": string(got.ErrorMessage), "msg": string(got.Msg),
		}, func(text string) string { return t.client.Snippet(text) })
		switch {
		case !found:
			return token{}, errors.New("the answer holds no access token")
		case wrongKey(err.code):
			return token{}, fault.Fatal(err, "check "+t.keys())
		}
		return token{}, err
	}
	tok := token{value: secret.New(string(*got.Value.AccessToken)), issued: time.Now()}
	now := t.now()
	if ms := got.Value.ExpireTime; ms != nil && time.UnixMilli(int64(*ms)).After(now) {
		expires := time.UnixMilli(int64(*ms))
		tok.renewAt = expires.Add(-min(tokenMargin, expires.Sub(now)/10))
	}
	return tok, nil
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
