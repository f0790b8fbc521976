package ekuaibao

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/fault"
	"connector/internal/secret"
	"connector/internal/wait"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

const (
	tokenPath   = "/api/openapi/v1/auth/getAccessToken" //nolint:gosec // a path, no credential
	tokenMargin = 5 * time.Minute                       // a token is renewed so long before it expires, or a tenth of its life
	freshFor    = 10 * time.Second                      // a token just issued may be refused for a moment
	freshWait   = time.Second
	shortLife   = 10 * time.Minute // a token that is refused sooner was ended by something
	maxEnded    = 3                // such tokens in a row are an error
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
	tenant   *tenant
	wait     time.Duration // before a token just issued and refused is tried again
	accepted atomic.Bool   // whether any token ever was
	lock     lock          // guards what follows
	current  token
	ended    int // tokens in a row that were refused within shortLife
}

func newTokens(client *httpx.Client, cfg Config, variable func(string) string, at *tenant) *tokens {
	return &tokens{client: client, cfg: cfg, variable: variable, tenant: at, wait: freshWait, lock: newLock(), current: token{value: cfg.AccessToken}}
}

func (t *tokens) fixed() bool { return !t.cfg.AccessToken.IsZero() }

// use calls ask with a token. A token that is refused right after it was
// issued, and a fixed one, is tried once more a moment later; one that is refused
// for good is replaced once. Then the refusal is fatal, unless a token was
// accepted before: another program may have ended the new one.
func (t *tokens) use(ctx context.Context, ask func(secret.String) error) error {
	tok, err := t.get(ctx, secret.String{})
	if err != nil {
		return err
	}
	for waited, replaced := false, false; ; {
		err := ask(tok.value)
		if e, ok := errors.AsType[*apiError](err); !ok || !e.denied() {
			if err == nil {
				t.accepted.Store(true)
			}
			return err
		}
		switch fresh := t.fixed() || replaced || time.Since(tok.issued) < freshFor; {
		case t.fixed() && waited:
			return fault.Fatal(err, "the access token is not accepted; renew "+t.variable("ACCESS_TOKEN"))
		case fresh && !waited:
			waited = true
			if err := wait.For(ctx, t.wait); err != nil {
				return err
			}
		case !replaced:
			replaced, waited = true, false
			if tok, err = t.get(ctx, tok.value); err != nil {
				return err
			}
		case t.accepted.Load():
			return fmt.Errorf("%w; a new access token is not accepted although earlier ones were: check that the application of %s may still read outbound messages, and that no other program uses it", err, t.keys())
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
	if err := t.lock.take(ctx); err != nil {
		return token{}, err
	}
	defer t.lock.release()
	held := t.current.value.Reveal()
	switch {
	case t.fixed(), held != "" && held != refused.Reveal() && !t.due():
		return t.current, nil
	case held != "" && held == refused.Reveal() && time.Since(t.current.issued) < shortLife:
		t.ended++
	default:
		t.ended = 0
	}
	if t.ended == maxEnded {
		t.ended, t.current = 0, token{}
		return token{}, fmt.Errorf("%d access tokens in a row were refused within %v of being issued; it seems that another program or account uses %s, and that each new token ends the one before: give each an application of its own", maxEnded, shortLife, t.keys())
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
	base, err := t.tenant.baseURL(ctx)
	if err != nil {
		return token{}, err
	}
	answer, err := call(ctx, t.client, http.MethodPost, base+tokenPath, body)
	if err != nil {
		return token{}, t.refused(err)
	}
	return t.read(answer)
}

// refused tells a wrong key from a provider in trouble.
func (t *tokens) refused(err error) error {
	if status, ok := errors.AsType[*httpx.StatusError](err); ok && !status.WebPage() {
		err = t.blame(err, codeOf(status))
	}
	return t.tenant.unanswered(err)
}

// blame makes err fatal when the code says that the key is wrong, or that
// there is none of it at this address: the API documents 403 for both. A key
// whose tokens were accepted is tried again: it may be the API that is wrong.
func (t *tokens) blame(err error, code string) error {
	switch {
	case refuses(code) && t.accepted.Load():
		return fmt.Errorf("%w; it gave access tokens before: if this lasts, check %s", err, t.keys())
	case refuses(code):
		return fault.Fatal(err, "check "+t.keys()+", and that "+t.tenant.setBy()+" leads to the company that they belong to")
	case code == "400" || code == "412":
		return fmt.Errorf("%w; if this lasts, check %s", err, t.keys())
	}
	return throttled(err, code)
}

// read decodes an answer with a token.
func (t *tokens) read(answer []byte) (token, error) {
	var got struct {
		reply
		Value *struct {
			AccessToken   *jsonrows.Text `json:"accessToken"`
			ExpireTime    *jsonrows.Int  `json:"expireTime"`
			CorporationID *jsonrows.Text `json:"corporationId"`
		} `json:"value"`
	}
	safe := func(text string) string { return t.client.Snippet(text) }
	if err := decodeReply(answer, &got, safe); err != nil {
		return token{}, err
	}
	if got.Value == nil || got.Value.AccessToken.Trimmed() == "" {
		err := got.lacks("access token", safe)
		return token{}, t.blame(err, err.code)
	}
	if err := t.tenant.belongs("the access token belongs", got.Value.CorporationID.Trimmed()); err != nil {
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
