package submail

import (
	"fmt"
	"slices"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

// Fields are the fields of a row that have no place in the envelope of an event
// or in its section sms: those that either call documents, all optional, and in
// Other the rest. Fields that are null are left out.
type Fields struct {
	API       *jsonrows.Text           `json:"api,omitzero"`
	SendDate  *jsonrows.Text           `json:"send_date,omitzero"` // local time
	SentDate  *jsonrows.Text           `json:"sent_date,omitzero"` // local time
	AppID     *jsonrows.Text           `json:"appid,omitzero"`
	IPAddress *jsonrows.Text           `json:"ip_address,omitzero"`
	SentAt    *jsonrows.Text           `json:"sent_at,omitzero"`   // where it is not in seconds
	ReportAt  *jsonrows.Text           `json:"report_at,omitzero"` // where it is not in seconds
	Other     map[string]*jsonrows.Any `json:",embed"`
}

// row is a row in the words of either call.
type row struct {
	sms            schema.SMS // without times
	status         *jsonrows.Text
	sent, reported moment
	fields         Fields
}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	row, err := s.call.read(r.Raw, s.cfg.TimeZone.Location)
	if err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	row.fields.Other = jsonrows.WithoutNull(row.fields.Other)
	sms := row.sms
	sms.SentAt, sms.ReportedAt = s.instant(row.sent, r.Created), s.instant(row.reported, r.Created)
	updated := sms.ReportedAt
	if updated.IsZero() {
		updated = sms.SentAt
	}
	return schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Terminal: r.Terminal},
		Channel:        schema.ChannelSMS,
		Status:         status(statusOf(row.status)),
		ProviderStatus: row.status.Trimmed(),
		CreatedAt:      r.Created.UTC(),
		UpdatedAt:      updated,
		SMS:            &sms,
		Section:        map[string]any{System: row.fields},
	}, nil
}

// instant returns the time that m stands for, not before created if there is a
// choice; zero when it cannot be read.
func (s *Source) instant(m moment, created time.Time) time.Time {
	times, err := m.instants(s.cfg.TimeZone.Location)
	if err != nil {
		return time.Time{}
	}
	notBefore := func(t time.Time) bool { return !t.Before(created) }
	return times[max(0, slices.IndexFunc(times, notBefore))].UTC()
}

// integer reads a field that is a number. In XML, and in some JSON, one that is
// not set is empty text.
func integer(name string, given *jsonrows.Text) (*int64, error) {
	text := given.Trimmed()
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	var n jsonrows.Int
	if err := n.UnmarshalJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("field %q %w", name, err)
	}
	return new(int64(n)), nil
}

// decimal is integer for any number.
func decimal(name string, given *jsonrows.Text) (*float64, error) {
	text := given.Trimmed()
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	var n jsonrows.Number
	if err := n.UnmarshalJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("field %q %w", name, err)
	}
	return new(float64(n)), nil
}

// status maps the API's status.
func status(given string) schema.Status {
	switch given {
	case statusDelivered:
		return schema.Delivered
	case statusDropped:
		return schema.Failed
	case statusRequest, statusPending, statusSending:
		return schema.Pending
	default:
		return schema.Unknown
	}
}
