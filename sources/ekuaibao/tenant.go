package ekuaibao

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

const locationPath = "/api/openapi/v2/location"

// tenant knows the base URL of an account's requests. It is safe for
// concurrent use.
type tenant struct {
	client   *httpx.Client
	cfg      Config
	variable func(suffix string) string
	log      *slog.Logger
	lock     lock
	found    string      // by the company, "" before; guarded by lock
	doubted  atomic.Bool // whether found is to be asked for again
}

// baseURL returns the configured base URL, or the one found by the company. It
// asks for that once, and again after [tenant.unanswered] has doubted it; when
// that gives none, what was found before counts.
func (t *tenant) baseURL(ctx context.Context) (string, error) {
	if base := t.cfg.address(); base != "" {
		return base, nil
	}
	if err := t.lock.take(ctx); err != nil {
		return "", err
	}
	defer t.lock.release()
	if t.found != "" && !t.doubted.Load() {
		return t.found, nil
	}
	base, err := t.find(ctx)
	switch {
	case err == nil && base != t.found:
		t.log.InfoContext(ctx, "found the base URL of the company", "url", base, "company", t.client.Snippet(t.cfg.CorpID))
		t.found = base
	case err != nil && (t.found == "" || ctx.Err() != nil):
		return "", fmt.Errorf("finding the base URL by %s: %w", t.variable("CORP_ID"), err)
	case err != nil:
		t.log.WarnContext(ctx, "the base URL cannot be asked for again; the one found before is tried", "url", t.found, "error", err)
	}
	t.doubted.Store(false)
	return t.found, nil
}

// find makes the location call.
func (t *tenant) find(ctx context.Context) (string, error) {
	answer, err := call(ctx, t.client, http.MethodGet, string(t.cfg.LocationURL)+locationPath+"?"+url.Values{"corpId": {t.cfg.CorpID}}.Encode(), nil)
	if err != nil {
		return "", t.refused(err)
	}
	return t.read(answer)
}

// unknownCompany reports whether a status or an inner code of the location
// call, whose only parameter is the company, blames that.
func unknownCompany(code string) bool { return slices.Contains([]string{"400", "404", "412"}, code) }

// refused tells an unknown company from a server in trouble. A 404 in which
// the API says nothing is a wrong address.
func (t *tenant) refused(err error) error {
	status, ok := errors.AsType[*httpx.StatusError](err)
	if !ok || status.WebPage() {
		return explained(err, t.variable("LOCATION_URL"))
	}
	code := strconv.Itoa(status.Status)
	if inner, found := innerError(status); found {
		code = inner.code
	} else if status.Status == http.StatusNotFound {
		return explained(err, t.variable("LOCATION_URL"))
	}
	return t.blame(err, code)
}

// blame makes err fatal when the code blames the company.
func (t *tenant) blame(err error, code string) error {
	if unknownCompany(code) {
		return fault.Fatal(err, "check "+t.variable("CORP_ID")+", or set "+t.variable("BASE_URL"))
	}
	return throttled(err, code)
}

// read decodes the answer of the location call. An empty value without an
// error code says that there is no such company.
func (t *tenant) read(answer []byte) (string, error) {
	var got struct {
		reply
		Value jsontext.Value `json:"value"` // nil when absent
	}
	safe := func(text string) string { return t.client.Snippet(text) }
	if err := decodeReply(answer, &got, safe); err != nil {
		return "", err
	}
	var base jsonrows.Text
	if kind := got.Value.Kind(); kind == jsontext.KindString {
		_ = base.UnmarshalJSON(got.Value) // a string has no error
	} else if got.Value != nil && kind != jsontext.KindNull {
		return "", fmt.Errorf("the base URL in the answer is a JSON %s, not text; set %s", kind, t.variable("BASE_URL"))
	}
	if base.Trimmed() != "" {
		return t.accept(base.Trimmed())
	}
	err := got.lacks("base URL", safe)
	if err.code == "" && got.Value != nil {
		return "", t.blame(err, "404")
	}
	return "", t.blame(err, err.code)
}

// accept checks a base URL that was found: credentials go there. It is https,
// unless it was not asked for by https either.
func (t *tenant) accept(found string) (string, error) {
	var base config.URL
	err := base.Decode(found)
	if err == nil && !strings.HasPrefix(string(base), "https://") && strings.HasPrefix(string(t.cfg.LocationURL), "https://") {
		err = errors.New("must begin with https://")
	}
	if err != nil {
		return "", fmt.Errorf("the base URL %q in the answer is not taken: %w; set %s", t.client.Snippet(found), err, t.variable("BASE_URL"))
	}
	return string(base), nil
}

// setBy names the variable that the base URL comes from.
func (t *tenant) setBy() string {
	if t.cfg.address() != "" {
		return t.variable("BASE_URL")
	}
	return t.variable("CORP_ID")
}

// unanswered adds to an error of a request what the user can check when it was
// not the API that answered. A base URL that was found is then asked for again.
func (t *tenant) unanswered(err error) error {
	if t.cfg.address() != "" {
		return explained(err, t.setBy())
	}
	if httpx.Misdirected(err) {
		t.doubted.Store(true)
	}
	return explained(err, t.setBy()+", by which this address was found, or set "+t.variable("BASE_URL"))
}

// belongs checks whose what is, if the company is configured and known.
func (t *tenant) belongs(what, corporation string) error {
	if t.cfg.CorpID == "" || corporation == "" || corporation == t.cfg.CorpID {
		return nil
	}
	err := fmt.Errorf("%s to corporationId %s, and %s is %s", what, t.client.Snippet(corporation), t.variable("CORP_ID"), t.client.Snippet(t.cfg.CorpID))
	return fault.Fatal(err, "set "+t.variable("CORP_ID")+" to the company of the account's credential, or the credential to that of the company")
}
