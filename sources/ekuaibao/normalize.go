package ekuaibao

import (
	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

// Fields are the fields of a row as the API documents them, all optional, and
// in Other those it does not. Fields that are null are left out.
type Fields struct {
	Name                  *jsonrows.Text           `json:"name,omitzero"`
	MessageID             *jsonrows.Text           `json:"messageId,omitzero"` // of the configuration, not of the row
	FlowID                *jsonrows.Text           `json:"flowId,omitzero"`
	DataLinkID            *jsonrows.Text           `json:"dataLinkId,omitzero"`
	MessageCenterConfigID *jsonrows.Text           `json:"messageCenterConfigId,omitzero"`
	RepaymentApplyID      *jsonrows.Text           `json:"repaymentApplyId,omitzero"`
	NodeName              *jsonrows.Text           `json:"nodeName,omitzero"`
	NodeID                *jsonrows.Text           `json:"nodeId,omitzero"`
	Request               *jsonrows.Any            `json:"request,omitzero"`
	Response              *jsonrows.Any            `json:"response,omitzero"`
	State                 *jsonrows.Text           `json:"state,omitzero"`
	ID                    *jsonrows.Text           `json:"id,omitzero"`
	Type                  *jsonrows.Text           `json:"type,omitzero"`
	Version               *jsonrows.Int            `json:"version,omitzero"`
	Active                *jsonrows.Bool           `json:"active,omitzero"`
	CreateTime            *jsonrows.Int            `json:"createTime,omitzero"` // ms since 1970
	UpdateTime            *jsonrows.Int            `json:"updateTime,omitzero"` // ms since 1970
	CorporationID         *jsonrows.Text           `json:"corporationId,omitzero"`
	MessageType           *jsonrows.Text           `json:"messageType,omitzero"`
	Other                 map[string]*jsonrows.Any `json:",embed"`
}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	var f Fields
	if err := jsonrows.Decode(r.Raw, &f); err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	for name, value := range f.Other {
		if value == nil {
			delete(f.Other, name)
		}
	}
	e := schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Version: number(f.Version), Terminal: r.Terminal},
		Channel:        schema.Webhook,
		Status:         status(f.State.Trimmed()),
		ProviderStatus: f.State.Trimmed(),
		CreatedAt:      r.Created.UTC(),
		Section:        map[string]any{System: f},
	}
	if f.UpdateTime != nil {
		at, err := instant("updateTime", *f.UpdateTime)
		if err != nil {
			return schema.Event{}, fault.Reject("decode", err)
		}
		e.UpdatedAt = at
	}
	return e, nil
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
