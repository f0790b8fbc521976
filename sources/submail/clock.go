package submail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/sources/jsonrows"
)

const (
	stampPath = "/service/timestamp.json"
	maxStamp  = 4 << 10 // bytes of an answer with a timestamp
)

// Now returns the provider's time by the Date of its latest answer, or by the
// timestamp service alone once the API has refused a signature made at the
// time of Date. Without a time of the last 10 minutes it asks the timestamp
// service, which does not count as a request of the account.
func (s *Source) Now(ctx context.Context) (time.Time, error) {
	if now, ok := s.client.Clock().Now(); ok {
		return now, nil
	}
	var errs []error
	for _, base := range s.hosts.order() {
		err := s.stamp(ctx, base)
		if _, throttled := fault.RetryAfter(err); throttled {
			return time.Time{}, fmt.Errorf("asking for the provider's time: %w", err)
		}
		if now, ok := s.client.Clock().Now(); ok {
			return now, nil
		}
		errs = append(errs, s.explain(base, err))
	}
	return time.Time{}, fmt.Errorf("asking for the provider's time: %w", errors.Join(errs...))
}

// signingTime returns the provider's time for a signature, which the API
// takes for about 6 seconds.
func (s *Source) signingTime(ctx context.Context, base config.URL) (time.Time, error) {
	now, ok := s.client.Clock().Now()
	if s.cfg.SignType == SignNormal || ok {
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
		return err
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
