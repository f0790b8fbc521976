package submail

import (
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // the provider's signature scheme
	"crypto/sha1" //nolint:gosec // the provider's signature scheme
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/config"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

const (
	logPath   = "/log/message"
	stampPath = "/service/timestamp.json"
	maxStamp  = 4 << 10         // bytes of an answer with a timestamp
	backupFor = 5 * time.Minute // the backup is preferred so long after the main host failed
)

// query is one request for a page.
type query struct {
	span   sources.Span
	rows   int
	offset int // in pages
}

// params returns the parameters of q without those of the signature.
func (s *Source) params(q query) map[string]string {
	p := map[string]string{
		"appid":      s.cfg.AppID,
		"start_date": strconv.FormatInt(q.span.From.Unix(), 10),
		"end_date":   strconv.FormatInt(q.span.To.Unix(), 10),
		"order_by":   "asc",
		"rows":       strconv.Itoa(q.rows),
		"offset":     strconv.Itoa(q.offset),
	}
	for name, value := range map[string]string{
		"recipient": s.cfg.Recipient, "project": s.cfg.Project, "result_status": string(s.cfg.ResultStatus),
	} {
		if value != "" {
			p[name] = value
		}
	}
	return p
}

// sign adds the signature to p: the key itself, or a digest over all
// parameters at the provider's time now.
func (s *Source) sign(p map[string]string, now time.Time) {
	key := s.cfg.AppKey.Reveal()
	if s.cfg.SignType == SignNormal {
		p["signature"] = key
		return
	}
	p["sign_type"] = string(s.cfg.SignType)
	p["timestamp"] = strconv.FormatInt(now.Unix(), 10)
	p["signature"] = digest(s.cfg.SignType, s.cfg.AppID+key, p)
}

// digest is the signature of params: over name=value joined by &, sorted by
// name, raw UTF-8, between two times appid and key. signature and tag are not
// part of it.
func digest(kind SignType, frame string, params map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if name != "signature" && name != "tag" {
			pairs = append(pairs, name+"="+params[name])
		}
	}
	text := []byte(frame + strings.Join(pairs, "&") + frame)
	if kind == SignMD5 {
		sum := md5.Sum(text) //nolint:gosec // the provider's signature scheme
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(text) //nolint:gosec // the provider's signature scheme
	return hex.EncodeToString(sum[:])
}

// encode writes the parameters as the configured content type.
func encode(kind ContentType, params map[string]string) (contentType string, body []byte, err error) {
	switch kind {
	case ContentJSON:
		body, err = json.Marshal(params, json.Deterministic(true))
		return "application/json", body, err
	case ContentMultipart:
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, name := range slices.Sorted(maps.Keys(params)) {
			err = errors.Join(err, w.WriteField(name, params[name]))
		}
		err = errors.Join(err, w.Close())
		return w.FormDataContentType(), b.Bytes(), err
	default:
		form := url.Values{}
		for name, value := range params {
			form.Set(name, value)
		}
		return "application/x-www-form-urlencoded", []byte(form.Encode()), nil
	}
}

// send sends q to the preferred host, and to the other when that is down.
func (s *Source) send(ctx context.Context, q query) (*http.Response, error) {
	var errs []error
	for _, base := range s.hosts.order() {
		resp, err := s.attempt(ctx, base, q)
		if ctx.Err() != nil {
			return resp, err
		}
		if err == nil || !down(err) {
			s.hosts.use(base)
			return resp, s.explain(err)
		}
		errs = append(errs, s.explain(err))
	}
	return nil, errors.Join(errs...)
}

// attempt waits its turn, signs q and sends it once.
func (s *Source) attempt(ctx context.Context, base config.URL, q query) (*http.Response, error) {
	if err := s.client.Wait(ctx); err != nil {
		return nil, err
	}
	params := s.params(q)
	now, err := s.signingTime(ctx, base)
	if err != nil {
		return nil, err
	}
	s.sign(params, now)
	contentType, body, err := encode(s.cfg.ContentType, params)
	if err != nil {
		return nil, errors.New("encoding the request: a parameter is not UTF-8")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(base)+logPath+"."+string(s.cfg.Format), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Content-Type", contentType)
	return s.client.Do(req)
}

// signingTime returns the provider's time for a signature, which the API
// takes for about 6 seconds.
func (s *Source) signingTime(ctx context.Context, base config.URL) (time.Time, error) {
	now, ok := s.client.Clock().Now()
	if s.cfg.SignType == SignNormal || ok && !s.stampEach.Load() {
		return now, nil
	}
	if err := s.stamp(ctx, base); err != nil {
		return now, fmt.Errorf("asking for the provider's time: %w", err)
	}
	now, _ = s.client.Clock().Now()
	return now, nil
}

// stamp sets the clock by the timestamp service.
func (s *Source) stamp(ctx context.Context, base config.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(base)+stampPath, nil)
	if err != nil {
		return errors.New("building the request: the base URL is not a URL")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return s.explain(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStamp))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	var got struct {
		Timestamp *jsonrows.Int `json:"timestamp"`
	}
	if err := jsonrows.Decode(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &got); err != nil || got.Timestamp == nil {
		return errors.Join(errors.New("the answer holds no timestamp"), err)
	}
	s.client.Clock().Observe(time.Unix(int64(*got.Timestamp), 0))
	return nil
}

// explain adds to an answer's error what the user can check.
func (s *Source) explain(err error) error {
	if httpx.Misdirected(err) {
		return fmt.Errorf("%w; check %s", err, s.variable("BASE_URL"))
	}
	return err
}

// down reports whether err is a host's rather than the account's.
func down(err error) bool {
	status, ok := errors.AsType[*httpx.StatusError](err)
	return !ok || status.Server()
}

// hosts orders the addresses of the API, the main one first. It is safe for
// concurrent use.
type hosts struct {
	urls []config.URL

	mu     sync.Mutex
	backup time.Time // local time until which the backup is preferred
}

func (h *hosts) order() []config.URL {
	h.mu.Lock()
	defer h.mu.Unlock()
	order := slices.Clone(h.urls)
	if time.Now().Before(h.backup) {
		slices.Reverse(order)
	}
	return order
}

// use notes that base answered.
func (h *hosts) use(base config.URL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case base == h.urls[0]:
		h.backup = time.Time{}
	case !time.Now().Before(h.backup):
		h.backup = time.Now().Add(backupFor)
	}
}
