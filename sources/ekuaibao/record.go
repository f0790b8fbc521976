package ekuaibao

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/sources"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// stateSuccess is the state of a delivery that succeeded. The API documents
// no other that is final: a FAILURE may be sent again at any time.
const stateSuccess = "SUCCESS"

// maxMillis is the last millisecond of the year 9999; RFC 3339 ends there.
const maxMillis = 253402300799999

// keys are the fields that identify and order the versions of a row.
type keys struct {
	ID            *jsonrows.Text `json:"id"`
	MessageType   *jsonrows.Text `json:"messageType"`
	CorporationID jsontext.Value `json:"corporationId"`
	CreateTime    *jsonrows.Int  `json:"createTime"`
	UpdateTime    *jsonrows.Int  `json:"updateTime"`
	Version       *jsonrows.Int  `json:"version"`
	State         *jsonrows.Text `json:"state"`
	Active        *jsonrows.Bool `json:"active"`
}

// record makes a record of a row of the answer to q. Its error says that the
// answer fails a check; a row that can be no event is a record with a fault.
func (s *Source) record(q query, row jsonrows.Row) (scan.Row, error) {
	r, k := s.decode(row)
	out := scan.Row{Record: r}
	if k.UpdateTime != nil { // one that is no time is absent: the row may be an event all the same
		out.Other, _ = instant("updateTime", *k.UpdateTime)
	}
	return out, s.check(q, k)
}

// decode reads a row; keys that cannot be read are absent.
func (s *Source) decode(row jsonrows.Row) (sources.Record, keys) {
	r := row.Record(s.variable("MAX_ROW_BYTES"))
	if r.Fault != nil {
		return r, keys{}
	}
	var k keys
	if err := jsonrows.Decode(row.Raw, &k); err != nil {
		return jsonrows.Reject(r, "decode", jsonrows.TextField(r.Raw, "id"), err), keys{}
	}
	created, err := k.created()
	if err != nil {
		k.CreateTime = nil // one that is no time lies in no window, nor outside of it
		return jsonrows.Reject(r, "decode", k.ID.Trimmed(), err), k
	}
	r.Created, r.Moves = created, k.CreateTime == nil
	if r = jsonrows.Identify(r, "id", k.ID.Trimmed()); r.Fault != nil {
		return r, k
	}
	r.Print, r.Rank = k.print(), k.rank()
	r.Terminal = k.State.Trimmed() == stateSuccess
	return r, k
}

// check tells whether a row belongs to the answer to q. A messageType that
// the API does not document says nothing.
func (s *Source) check(q query, k keys) error {
	if got := k.MessageType.Trimmed(); got != q.stream && slices.Contains(allMessageTypes, got) {
		return fmt.Errorf("%w: asked for messageType %s, got %s", scan.ErrOther, q.stream, got)
	}
	if k.CreateTime != nil && !q.near(k.CreateTime) && !q.near(k.UpdateTime) {
		return fmt.Errorf("%w: asked for %s, got createTime %d", scan.ErrOutside, q.span, *k.CreateTime)
	}
	return s.pin(k.corporation())
}

// pin refuses a corporationId that is not the configured one, or the first.
func (s *Source) pin(corporation string) error {
	if err := s.tenant.belongs("the rows belong", corporation); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case corporation == "" || corporation == s.corporation:
		return nil
	case s.corporation == "":
		s.corporation = corporation
		return nil
	}
	err := fmt.Errorf("the rows belong to corporationId %s, those before to %s", s.client.Snippet(corporation), s.client.Snippet(s.corporation))
	return fault.Fatal(err, "check "+s.tenant.setBy()+" and the account's credential; an account reads one company")
}

// near reports whether ms lies in the requested span, give or take a tick.
func (q query) near(ms *jsonrows.Int) bool {
	if ms == nil {
		return false
	}
	at := int64(*ms)
	return at >= q.span.From.UnixMilli()-1 && at <= q.span.To.UnixMilli()+1
}

// print hashes version, updateTime, state and active: what tells versions of
// a row apart. It holds nothing of the message.
func (k *keys) print() string {
	parts := []string{number(k.Version), number(k.UpdateTime), k.State.Trimmed(), ""}
	if k.Active != nil {
		parts[3] = strconv.FormatBool(bool(*k.Active))
	}
	return jsonrows.Sum([]byte(strings.Join(parts, "\x00")))
}

// rank is the updateTime, or the version of a row without one. A version is
// far below any time: a row that gains an updateTime ranks above its past.
func (k *keys) rank() int64 {
	for _, n := range []*jsonrows.Int{k.UpdateTime, k.Version} {
		if n != nil {
			return int64(*n)
		}
	}
	return 0
}

// corporation is the corporationId; one that is no text says nothing.
func (k *keys) corporation() string {
	var text jsonrows.Text
	if k.CorporationID.Kind() == jsontext.KindString {
		_ = text.UnmarshalJSON(k.CorporationID) // a string has no error
	}
	return text.Trimmed()
}

// created is the createTime, or the updateTime of a row without one.
func (k *keys) created() (time.Time, error) {
	switch {
	case k.CreateTime != nil:
		return instant("createTime", *k.CreateTime)
	case k.UpdateTime != nil:
		return instant("updateTime", *k.UpdateTime)
	}
	return time.Time{}, errors.New("the row has neither createTime nor updateTime")
}

func number(n *jsonrows.Int) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}

// instant returns the time of a field in milliseconds.
func instant(field string, ms jsonrows.Int) (time.Time, error) {
	if ms < 0 || ms > maxMillis {
		return time.Time{}, fmt.Errorf("field %q is no time in milliseconds", field)
	}
	return time.UnixMilli(int64(ms)).UTC(), nil
}
