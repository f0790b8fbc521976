package submail

import (
	"errors"
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
	SendID       *jsonrows.Text           `json:"sendId,omitzero"`
	Project      *jsonrows.Text           `json:"project,omitzero"`
	Recipient    *jsonrows.Text           `json:"recipient,omitzero"`
	Message      *jsonrows.Text           `json:"message,omitzero"`
	Signature    *jsonrows.Text           `json:"signature,omitzero"`
	ResultStatus *jsonrows.Text           `json:"resultStatus,omitzero"`
	API          *jsonrows.Text           `json:"api,omitzero"`
	SendDate     *jsonrows.Text           `json:"sendDate,omitzero"` // local time, as given
	SentDate     *jsonrows.Text           `json:"sentDate,omitzero"` // local time, as given
	Length       *jsonrows.Int            `json:"length,omitzero"`
	Credit       *jsonrows.Number         `json:"credit,omitzero"`
	Other        map[string]*jsonrows.Any `json:",embed"`
}

// row is a row by the API's names.
type row struct {
	SendID       *jsonrows.Text           `json:"sendID"`
	Project      *jsonrows.Text           `json:"project"`
	Recipient    *jsonrows.Text           `json:"recipient"`
	Message      *jsonrows.Text           `json:"message"`
	Signature    *jsonrows.Text           `json:"signature"`
	ResultStatus *jsonrows.Text           `json:"result_status"`
	API          *jsonrows.Text           `json:"api"`
	SendDate     *jsonrows.Text           `json:"send_date"`
	SentDate     *jsonrows.Text           `json:"sent_date"`
	Length       *jsonrows.Text           `json:"length"`
	Credit       *jsonrows.Text           `json:"credit"`
	Other        map[string]*jsonrows.Any `json:",embed"`
}

// renamed are the names of Fields that are not the API's: they cannot be kept
// as unknown fields.
var renamed = []string{"sendId", "resultStatus", "sendDate", "sentDate"}

// fields gives r the names of the event. In XML, and in some JSON, a number
// that is not set is empty text.
func (r *row) fields() (Fields, error) {
	f := Fields{
		SendID: r.SendID, Project: r.Project, Recipient: r.Recipient, Message: r.Message, Signature: r.Signature,
		ResultStatus: r.ResultStatus, API: r.API, SendDate: r.SendDate, SentDate: r.SentDate, Other: r.Other,
	}
	for name, value := range f.Other {
		if value == nil || slices.Contains(renamed, name) {
			delete(f.Other, name)
		}
	}
	if text := r.Length.Trimmed(); text != "" {
		f.Length = new(jsonrows.Int)
		if err := f.Length.UnmarshalJSON([]byte(text)); err != nil {
			return f, errors.New(`field "length" is no integer`)
		}
	}
	if text := r.Credit.Trimmed(); text != "" {
		f.Credit = new(jsonrows.Number)
		if err := f.Credit.UnmarshalJSON([]byte(text)); err != nil {
			return f, errors.New(`field "credit" is no number`)
		}
	}
	return f, nil
}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	var given row
	if err := jsonrows.Decode(r.Raw, &given); err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	f, err := given.fields()
	if err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	return schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Terminal: r.Terminal},
		Channel:        schema.SMS,
		Status:         status(statusOf(f.ResultStatus)),
		ProviderStatus: f.ResultStatus.Trimmed(),
		CreatedAt:      r.Created.UTC(),
		UpdatedAt:      s.updated(f.SentDate.Trimmed(), r.Created),
		Section:        map[string]any{System: f},
	}, nil
}

// updated returns the time that sent_date stands for, not before created if
// there is a choice; zero when it cannot be read.
func (s *Source) updated(sent string, created time.Time) time.Time {
	times, err := instants(sent, s.cfg.TimeZone.Location)
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
