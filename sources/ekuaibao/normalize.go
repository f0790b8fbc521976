package ekuaibao

import (
	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

// Fields are the fields of a row that have no place in the envelope of an event
// or in its section webhook: those that the API documents, all optional, and in
// Other those it does not. Fields that are null are left out.
type Fields struct {
	FlowID                *jsonrows.Text           `json:"flowId,omitzero"`
	DataLinkID            *jsonrows.Text           `json:"dataLinkId,omitzero"`
	MessageCenterConfigID *jsonrows.Text           `json:"messageCenterConfigId,omitzero"`
	RepaymentApplyID      *jsonrows.Text           `json:"repaymentApplyId,omitzero"`
	CorporationID         *jsonrows.Text           `json:"corporationId,omitzero"`
	MessageType           *jsonrows.Text           `json:"messageType,omitzero"`
	Type                  *jsonrows.Text           `json:"type,omitzero"`
	Active                *jsonrows.Bool           `json:"active,omitzero"`
	Other                 map[string]*jsonrows.Any `json:",embed"`
}

// row is a row, all of whose fields are optional.
type row struct {
	Name       *jsonrows.Text `json:"name"`
	MessageID  *jsonrows.Text `json:"messageId"` // of the configuration, not of the row
	NodeName   *jsonrows.Text `json:"nodeName"`
	NodeID     *jsonrows.Text `json:"nodeId"`
	Request    *jsonrows.Any  `json:"request"`
	Response   *jsonrows.Any  `json:"response"`
	State      *jsonrows.Text `json:"state"`
	ID         *jsonrows.Text `json:"id"`
	Version    *jsonrows.Int  `json:"version"`
	CreateTime *jsonrows.Int  `json:"createTime"` // ms since 1970
	UpdateTime *jsonrows.Int  `json:"updateTime"` // ms since 1970
	Fields
}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	var row row
	if err := jsonrows.Decode(r.Raw, &row); err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	row.Other = jsonrows.WithoutNull(row.Other)
	e := schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Version: number(row.Version), Terminal: r.Terminal},
		Channel:        schema.ChannelWebhook,
		Status:         status(row.State.Trimmed()),
		ProviderStatus: row.State.Trimmed(),
		CreatedAt:      r.Created.UTC(),
		Webhook:        row.webhook(),
		Section:        map[string]any{System: row.Fields},
	}
	if row.UpdateTime != nil {
		at, err := instant("updateTime", *row.UpdateTime)
		if err != nil {
			return schema.Event{}, fault.Reject("decode", err)
		}
		e.UpdatedAt = at
	}
	return e, nil
}

func (r *row) webhook() *schema.Webhook {
	return &schema.Webhook{
		Direction:         direction(r.Type.Trimmed()),
		ConfigurationID:   r.MessageID.Trimmed(),
		ConfigurationName: r.Name.Trimmed(),
		NodeID:            r.NodeID.Trimmed(),
		NodeName:          r.NodeName.Trimmed(),
		Request:           value(r.Request),
		Response:          value(r.Response),
	}
}

func value(given *jsonrows.Any) jsontext.Value {
	if given == nil {
		return nil
	}
	return jsontext.Value(*given)
}

// direction maps the API's type; empty for none and for others.
func direction(given string) schema.Direction {
	switch given {
	case "INVOKING":
		return schema.Outgoing
	case "CALLBACK":
		return schema.Incoming
	default:
		return ""
	}
}

// status maps the API's state.
func status(state string) schema.Status {
	switch state {
	case stateSuccess:
		return schema.Delivered
	case "FAILURE":
		return schema.Failed
	default:
		return schema.Unknown
	}
}
