package submail

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

// Fields are the fields of a row as the API documents them, all optional, and
// in Other those it does not. Fields that are null are left out.
type Fields struct {
	SendID        *jsonrows.Text           `json:"sendId,omitzero"`
	Project       *jsonrows.Text           `json:"project,omitzero"`
	Recipient     *jsonrows.Text           `json:"recipient,omitzero"`
	Message       *jsonrows.Text           `json:"message,omitzero"`
	Signature     *jsonrows.Text           `json:"signature,omitzero"`
	ResultStatus  *jsonrows.Text           `json:"resultStatus,omitzero"`
	API           *jsonrows.Text           `json:"api,omitzero"`
	SendDate      *jsonrows.Text           `json:"sendDate,omitzero"` // local time, as given by log/message
	SentDate      *jsonrows.Text           `json:"sentDate,omitzero"` // the same
	Length        *jsonrows.Int            `json:"length,omitzero"`
	Credit        *jsonrows.Number         `json:"credit,omitzero"`
	ReportState   *jsonrows.Text           `json:"reportState,omitzero"` // from here on, only of sms/log
	DroppedReason *jsonrows.Text           `json:"droppedReason,omitzero"`
	Location      *jsonrows.Text           `json:"location,omitzero"`
	MobileType    *jsonrows.Text           `json:"mobileType,omitzero"`
	IPAddress     *jsonrows.Text           `json:"ipAddress,omitzero"`
	ReportAt      time.Time                `json:"reportAt,omitzero"`
	AppID         *jsonrows.Text           `json:"appId,omitzero"`
	Other         map[string]*jsonrows.Any `json:",embed"`
}

// taken are the names of Fields, which no unknown field of a row can have.
var taken = []string{
	"sendId", "project", "recipient", "message", "signature", "resultStatus", "api", "sendDate", "sentDate", "length", "credit",
	"reportState", "droppedReason", "location", "mobileType", "ipAddress", "reportAt", "appId",
}

// integer reads a field that is a number. In XML, and in some JSON, one that is
// not set is empty text.
func integer(name string, given *jsonrows.Text) (*jsonrows.Int, error) {
	text := given.Trimmed()
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	n := new(jsonrows.Int)
	if n.UnmarshalJSON([]byte(text)) != nil {
		return nil, fmt.Errorf("field %q is no integer", name)
	}
	return n, nil
}

// decimal is integer for any number.
func decimal(name string, given *jsonrows.Text) (*jsonrows.Number, error) {
	text := given.Trimmed()
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	n := new(jsonrows.Number)
	if n.UnmarshalJSON([]byte(text)) != nil {
		return nil, fmt.Errorf("field %q is no number", name)
	}
	return n, nil
}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	f, changed, err := s.call.fields(r.Raw, s.cfg.TimeZone.Location)
	if err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	maps.DeleteFunc(f.Other, func(name string, value *jsonrows.Any) bool { return value == nil || slices.Contains(taken, name) })
	return schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Terminal: r.Terminal},
		Channel:        schema.SMS,
		Status:         status(statusOf(f.ResultStatus)),
		ProviderStatus: f.ResultStatus.Trimmed(),
		CreatedAt:      r.Created.UTC(),
		UpdatedAt:      s.updated(changed, r.Created),
		Section:        map[string]any{System: f},
	}, nil
}

// updated returns the time that changed stands for, not before created if there
// is a choice; zero when it cannot be read.
func (s *Source) updated(changed moment, created time.Time) time.Time {
	times, err := changed.instants(s.cfg.TimeZone.Location)
	if err != nil {
		return time.Time{}
	}
	notBefore := func(t time.Time) bool { return !t.Before(created) }
	return times[max(0, slices.IndexFunc(times, notBefore))].UTC()
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
