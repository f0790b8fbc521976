package apisim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fields is a row as the API shows it, by the API's own field names. Values are anything encoding/json encodes.
type Fields map[string]any

// Absent as the value of a field leaves the field out, also where the simulator would fill it in.
const Absent = absent(0)

type absent int

// Row is a row placed by hand.
//
// Fields that follow from the row's identity and times are filled in where a version lacks them: for ekuaibao id, messageType,
// version (1, 2, …), createTime, updateTime and state; for SUBMAIL sendID, send_date, sent_date, result_status and credit.
type Row struct {
	Stream   string       // ekuaibao: messageType (default flow); SUBMAIL: sms
	ID       string       // unique in its stream
	Created  time.Time    // cut to the API's tick
	Visible  time.Time    // first time an answer shows the row; zero: Created
	Gone     time.Time    // from then on the row is no longer in the log; zero: it stays
	Versions []RowVersion // ascending; none: one version without fields of its own
	Poison   PoisonKind   // empty: a good row
}

// RowVersion is what a row looks like from At on.
type RowVersion struct {
	At     time.Time // zero: the row's creation
	Fields Fields
}

// placed is a checked Row with its fields filled in.
type placed struct {
	id     string
	fields []Fields
	keys   []string
}

// record names a row within one simulator.
type record struct{ stream, id string }

// Add places rows by hand; all of them, or none when one is refused: a row without ID or creation time, an ID used before in
// the stream, versions out of order, or two versions that nothing a reader compares tells apart.
func (w *world) Add(rows ...Row) error {
	items := make([]item, 0, len(rows))
	batch := map[record]bool{}
	for _, row := range rows {
		it, err := w.place(row)
		if err != nil {
			return fmt.Errorf("placing row %q of stream %q: %w", row.ID, row.Stream, err)
		}
		key := record{it.stream, row.ID}
		if batch[key] {
			return fmt.Errorf("placing row %q of stream %q: given twice", row.ID, it.stream)
		}
		batch[key] = true
		items = append(items, it)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range batch {
		if w.known[key] {
			return fmt.Errorf("placing row %q of stream %q: there is one already", key.id, key.stream)
		}
	}
	for _, it := range items {
		w.known[record{it.stream, it.placed.id}] = true
		w.placed[it.stream] = append(w.placed[it.stream], it)
		w.dirty[it.stream] = true
	}
	return nil
}

func (w *world) place(row Row) (item, error) {
	if row.ID == "" || row.Created.IsZero() {
		return item{}, errors.New("a row needs an ID and a creation time")
	}
	if row.Stream == "" {
		row.Stream = w.provider.defaultStream
	}
	if !slices.Contains(w.provider.streams, row.Stream) {
		return item{}, errors.New("unknown stream")
	}
	if row.Visible.IsZero() {
		row.Visible = row.Created
	}
	if len(row.Versions) == 0 {
		row.Versions = []RowVersion{{}}
	}
	p := &placed{id: row.ID}
	it := item{
		stream: row.Stream, created: row.Created.Truncate(w.provider.tick),
		visible: row.Visible, gone: row.Gone, poison: row.Poison, placed: p,
	}
	for v, version := range row.Versions {
		at := version.At
		if at.IsZero() {
			at = row.Created
		}
		if v > 0 && !at.After(it.versions[v-1]) {
			return item{}, fmt.Errorf("version %d does not begin after the one before it", v)
		}
		it.versions = append(it.versions, at)
		p.fields = append(p.fields, w.filled(row.ID, it, version.Fields, v))
	}
	var err error
	p.keys, err = versionKeys(w.provider, p.fields)
	return it, err
}

// filled returns the fields of version v, completed and without the absent ones; given is not changed.
func (w *world) filled(id string, it item, given Fields, v int) Fields {
	f := Fields{}
	w.provider.fill(f, id, it, v)
	for name, value := range given {
		f[name] = value
		if value == Absent {
			delete(f, name)
		}
	}
	return f
}

// versionKeys returns what identifies each version of a row: its short key where no other version has the same, else its long one.
func versionKeys(by provider, versions []Fields) ([]string, error) {
	count := map[string]int{}
	for _, f := range versions {
		count[text(f[by.shortKey])]++
	}
	keys := make([]string, len(versions))
	seen := map[string]bool{}
	for v, f := range versions {
		keys[v] = text(f[by.shortKey])
		if keys[v] == "" || count[keys[v]] > 1 {
			parts := make([]string, len(by.longKey))
			for i, name := range by.longKey {
				parts[i] = text(f[name])
			}
			keys[v] = strings.Join(parts, "|")
		}
		if seen[keys[v]] {
			return nil, fmt.Errorf("version %d cannot be told from an earlier one: both are %q", v, keys[v])
		}
		seen[keys[v]] = true
	}
	return keys, nil
}

// text returns the plain text of a scalar field: what a reader of JSON or XML sees, without quotes.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return strings.Trim(string(raw), `"`)
}

// show returns a row as an answer with the data of now carries it, and its entry in the log. The fields are not to be changed.
func (w *world) show(it item, now time.Time) (Fields, entry) {
	v := it.version(now)
	e := entry{rank: v, poison: it.poison, Version: Version{System: w.provider.system, Stream: it.stream}}
	if it.placed != nil {
		e.RecordID, e.Version.Version = it.placed.id, it.placed.keys[v]
		return it.placed.fields[v], e
	}
	f := w.provider.fields(w.dice(it.stream, it.number, 1), it, v)
	e.RecordID, e.Version.Version = text(f[w.provider.idField]), text(f[w.provider.shortKey])
	return f, e
}
