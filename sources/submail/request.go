package submail

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/config"
	"connector/sources"
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
		"rows":       strconv.Itoa(q.rows),
	}
	s.call.params(p, &s.cfg, q)
	maps.DeleteFunc(p, func(_, value string) bool { return value == "" }) // filters that are not set
	return p
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

// attempt waits its turn, signs q and sends it once. It learns the time first:
// between the turn and the request lies no other call, so that requests keep
// their distance on the wire.
func (s *Source) attempt(ctx context.Context, base config.URL, q query) (*http.Response, error) {
	now, err := s.signingTime(ctx, base)
	if err != nil {
		return nil, err
	}
	learned := time.Now()
	if err := s.client.Wait(ctx); err != nil {
		return nil, err
	}
	params := s.params(q)
	s.sign(params, now.Add(time.Since(learned)))
	contentType, body, err := encode(s.cfg.ContentType, params)
	if err != nil {
		return nil, errors.New("encoding the request: a parameter is not UTF-8")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(base)+s.call.path(s.cfg.Format), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Content-Type", contentType)
	return s.client.Do(req)
}
