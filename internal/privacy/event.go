package privacy

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
	"connector/sources"
)

// Event applies the policy to an event made of rec, a row with the given
// fields, and adds the row if events are to carry it. The error is that of a section that
// cannot be encoded.
func (p *Policy) Event(e *schema.Event, rec sources.Record, fields sources.Fields) error {
	e.Privacy = schema.Privacy(p.Mode())
	if p == nil {
		return nil
	}
	if p.raw {
		if row, whole := p.row(rec, e.Source.System, fields); whole && utf8.Valid(row) {
			e.Raw = string(row)
		} else if whole {
			e.RawBase64 = base64.StdEncoding.EncodeToString(row)
		}
	}
	if p.mode == Off {
		return nil
	}
	e.ProviderStatus = maskPlain(e.ProviderStatus)
	e.Webhook, e.SMS = p.webhook(e.Webhook), p.sms(e.SMS)
	return p.section(e, fields)
}

func (p *Policy) webhook(given *schema.Webhook) *schema.Webhook {
	if given == nil {
		return nil
	}
	w := *given
	w.ConfigurationID = p.words("webhook.configurationId", w.ConfigurationID)
	w.ConfigurationName = p.words("webhook.configurationName", w.ConfigurationName)
	w.NodeID = p.words("webhook.nodeId", w.NodeID)
	w.NodeName = p.words("webhook.nodeName", w.NodeName)
	w.Request = p.content("webhook.request", w.Request)
	w.Response = p.content("webhook.response", w.Response)
	return &w
}

func (p *Policy) sms(given *schema.SMS) *schema.SMS {
	if given == nil {
		return nil
	}
	s := *given
	if t := p.treatment("sms.recipient", sources.KindRecipient); t != drop && s.Recipient != "" {
		s.RecipientHash = p.HashRecipient(s.Recipient)
		if s.Recipient = p.words("sms.recipient", s.Recipient); t == hash {
			s.Recipient = ""
		}
	} else {
		s.Recipient = ""
	}
	s.Text = p.words("sms.text", s.Text)
	s.Signature = p.words("sms.signature", s.Signature)
	s.Template = p.words("sms.template", s.Template)
	s.CarrierStatus = p.words("sms.carrierStatus", s.CarrierStatus)
	s.FailureReason = p.words("sms.failureReason", s.FailureReason)
	s.Carrier = p.words("sms.carrier", s.Carrier)
	s.Region = p.words("sms.region", s.Region)
	return &s
}

// section applies the policy to the provider's section.
func (p *Policy) section(e *schema.Event, fields sources.Fields) error {
	if len(e.Section) == 0 {
		return nil
	}
	section := make(map[string]any, len(e.Section))
	for system, given := range e.Section {
		raw, err := json.Marshal(given, json.Deterministic(true))
		if err != nil {
			return fmt.Errorf("encoding section %s: %w", system, err)
		}
		out, _, err := p.rewrite(raw, 0, func(w *rewriter) error { return w.row(system, fields) })
		if err != nil {
			return fmt.Errorf("reading section %s: %w", system, err)
		}
		section[system] = jsontext.Value(out)
	}
	e.Section = section
	return nil
}

// words applies what is done with the field of a path to its text.
func (p *Policy) words(path, s string) string {
	if s == "" {
		return ""
	}
	switch p.treatment(path, paths[path]) {
	case plain:
		return maskPlain(s)
	case note:
		return MaskPatterns(s)
	case text:
		return p.maskMessage(s, 0)
	case recipient:
		return maskRecipient(s)
	case hash:
		return p.hashValue(s)
	case hide:
		return Mask
	case drop:
		return ""
	case keep, body:
	}
	return s
}

// content applies what is done with the field of a path to its JSON.
func (p *Policy) content(path string, v jsontext.Value) jsontext.Value {
	t := p.treatment(path, sources.KindBody)
	if t == drop || len(v) == 0 {
		return nil
	}
	out, _, err := p.rewrite(v, 0, func(w *rewriter) error { return w.value(t, 0) })
	if err != nil {
		return nil // no JSON; a source gives none such
	}
	return out
}

// treatment returns what is done with the field of a path.
func (p *Policy) treatment(path string, kind sources.Kind) treatment {
	if action, ok := p.rules.paths[path]; ok {
		return action.treatment(kind)
	}
	switch kind {
	case sources.KindPlain:
		return plain
	case sources.KindNote:
		return note
	case sources.KindRecipient:
		return recipient
	case sources.KindText, sources.KindBody:
	}
	switch {
	case p.mode == Strict:
		return drop
	case kind == sources.KindText:
		return text
	}
	return body
}

// row rewrites an object that is a provider's row or section.
func (w *rewriter) row(system string, fields sources.Fields) error {
	if w.dec.PeekKind() != jsontext.KindBeginObject {
		if w.p.mode == Strict {
			return errDropped
		}
		return w.value(body, 0)
	}
	return w.members(func(name []byte) treatment {
		return w.shaped(w.field(system, fields, name))
	}, -1)
}

// shaped returns what is done with the next value, of a field that t is for.
func (w *rewriter) shaped(t treatment) treatment {
	kind := w.dec.PeekKind()
	list := kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray
	switch {
	case list && (t == plain || t == note || t == recipient && w.p.mode == Strict):
		return w.p.treatment("", sources.KindBody) // not what such fields hold
	case (kind == jsontext.KindTrue || kind == jsontext.KindFalse) && (t == hide || t == hash):
		return drop // a text in its place is nothing that the schema knows
	}
	return t
}

// errDropped says that nothing of a value is kept.
var errDropped = errors.New("nothing is kept")

// field returns what is done with a field of a row.
func (w *rewriter) field(system string, fields sources.Fields, name []byte) treatment {
	f := fields[string(name)]
	path := f.Path
	if path != "" {
		return w.p.treatment(path, f.Kind)
	}
	w.key = appendKey(w.key[:0], name)
	if len(w.p.rules.paths) > 0 {
		if action, ok := w.p.rules.paths[system+"."+string(name)]; ok {
			return action.treatment(f.Kind)
		}
	}
	if action, ok := w.p.rules.keys[string(w.key)]; ok {
		return action.treatment(sources.KindPlain)
	}
	t := w.p.treatment("", f.Kind)
	switch {
	case t == body && isPersonal(w.key):
		return hide
	case t == body && texts[string(w.key)]:
		return text
	}
	return t
}

// row returns a row as events and dead letters may carry it; whole is false
// when there is nothing of it.
func (p *Policy) row(rec sources.Record, system string, fields sources.Fields) (row []byte, whole bool) {
	if len(rec.Raw) == 0 {
		return nil, false
	}
	if p.Mode() == Off {
		return rec.Raw, true
	}
	if int64(len(rec.Raw)) >= rec.Size || rec.Size == 0 {
		out, _, err := p.rewrite(rec.Raw, 0, func(w *rewriter) error { return w.row(system, fields) })
		if err == nil {
			return out, true
		}
	}
	if p.mode == Strict {
		return nil, false
	}
	return []byte(p.maskUnparsed(string(rec.Raw))), true
}

// DeadLetter sets what a dead letter says of rec, a row with the given fields.
// Its reason is made by [Policy.Reason].
func (p *Policy) DeadLetter(d *schema.DeadLetter, rec sources.Record, fields sources.Fields) {
	d.Privacy = schema.Privacy(p.Mode())
	size := int64(len(rec.Raw))
	if rec.SHA256 != "" {
		size = rec.Size
	}
	row, _ := p.row(rec, d.Source.System, fields)
	complete := size == 0 || row != nil && int64(len(rec.Raw)) >= size
	d.SetRaw(row, complete, size, p.RowDigest(rec))
}

// RowDigest returns the digest of a record's whole row, as its dead letter says it.
func (p *Policy) RowDigest(rec sources.Record) string {
	if rec.SHA256 != "" {
		return p.Digest(rec.SHA256)
	}
	sum := sha256.Sum256(rec.Raw)
	return p.Digest(hexed(sum))
}

// Reason returns the text of an error about a row, without what it may quote of
// that: names of fields, and what a parser or a server says.
func (p *Policy) Reason(err error) string {
	if p.Mode() == Off {
		return err.Error()
	}
	return MaskPatterns(quotedText.ReplaceAllStringFunc(err.Error(), func(quoted string) string {
		inner, closed := strings.CutSuffix(quoted[1:], `"`)
		if inner = `"` + maskText(inner); closed {
			inner += `"`
		}
		return inner
	}))
}

// quotedText is a text in quotes, as %q writes it, or what follows a quote that has no other.
var quotedText = regexp.MustCompile(`"(?:[^"\\]|\\[\s\S])*(?:"|\\?$)`)

// Hashed is how the id begins of a record that the provider gave none.
const Hashed = "digest:"

// Seal returns records in which the digests of those that can never become an
// event are keyed, to be kept: the print, and the id where that is the hash of
// the row.
func (p *Policy) Seal(records []sources.Record) []sources.Record {
	if !slices.ContainsFunc(records, func(r sources.Record) bool { return r.Fault != nil }) {
		return records
	}
	sealed := slices.Clone(records)
	for i := range sealed {
		rec := &sealed[i]
		if rec.Fault == nil {
			continue
		}
		if sum, ok := strings.CutPrefix(rec.ID, sources.HashID); ok {
			rec.ID = Hashed + p.Digest(sum)
		}
		rec.Print = p.Digest(rec.Print)
	}
	return sealed
}
