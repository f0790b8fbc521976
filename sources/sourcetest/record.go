package sourcetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
	"connector/sources/jsonrows"
)

// record checks one record and reports whether it becomes an event.
func (c *checker) record(src sources.Source, st sources.Stream, rec sources.Record) bool {
	if err := shape(rec); err != nil {
		c.breach("record", "%q: %v", rec.ID, err)
	}
	if c.holds(rec.ID + "\n" + rec.Print) {
		c.breach("secret", "the id or print of a record holds a secret")
	}
	given := rec
	given.Raw = slices.Clone(rec.Raw)
	e, err := src.Normalize(st, rec)
	c.sees(err)
	c.sees(rec.Fault)
	if !bytes.Equal(given.Raw, rec.Raw) {
		c.breach("normalize", "record %q: the row is changed", rec.ID)
	}
	for _, err := range []error{err, rec.Fault} {
		if class, rejected := fault.Class(err); err != nil && (!rejected || class == "") {
			c.breach("reject", "record %q: the error is not marked as reject, with a class: %v", rec.ID, err)
		}
	}
	if err != nil {
		return false
	}
	if rec.Fault != nil {
		c.breach("normalize", "record %q has a fault and becomes an event", rec.ID)
		return true
	}
	c.event(src, st, given, e)
	return true
}

// shape checks what every record keeps.
func shape(rec sources.Record) error {
	cut := rec.Size > int64(len(rec.Raw))
	hash, isHash := strings.CutPrefix(rec.ID, sources.HashID)
	whole := rec.SHA256
	if whole == "" {
		sum := sha256.Sum256(rec.Raw)
		whole = hex.EncodeToString(sum[:])
	}
	switch {
	case rec.ID == "" || rec.Print == "":
		return errors.New("id or print is empty")
	case len(rec.ID) > jsonrows.MaxID:
		return fmt.Errorf("the id has %d bytes, more than %d", len(rec.ID), jsonrows.MaxID)
	case isHash && hash != whole:
		return errors.New("the id is not the hash of the row")
	case rec.Size < int64(len(rec.Raw)) || (rec.SHA256 != "") != cut || len(whole) != 2*sha256.Size:
		return fmt.Errorf("size %d and hash %q do not fit %d bytes of the row", rec.Size, rec.SHA256, len(rec.Raw))
	case rec.Fault == nil && (rec.Created.IsZero() || cut):
		return errors.New("a good record has no creation time, or only a part of its row")
	case rec.Fault == nil && !jsontext.Value(rec.Raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)):
		return errors.New("the row is not JSON")
	}
	return nil
}

// event checks what a record became, and that it becomes the same again.
func (c *checker) event(src sources.Source, st sources.Stream, rec sources.Record, e schema.Event) {
	body, err := encode(e)
	if err == nil {
		err = schematest.Event(body)
	}
	if err = errors.Join(fields(st, rec, e), err); err != nil {
		c.breach("event", "record %q: %v", rec.ID, err)
	}
	if c.holds(string(body)) {
		c.breach("secret", "the event of record %q holds a secret", rec.ID)
	}
	e, err = src.Normalize(st, rec)
	again, errAgain := encode(e)
	if err = errors.Join(err, errAgain); err != nil || !bytes.Equal(again, body) {
		c.breach("normalize", "record %q becomes another event the second time, error %v", rec.ID, err)
	}
}

// fields compares an event with its record.
func fields(st sources.Stream, rec sources.Record, e schema.Event) error {
	switch {
	case e.Record.ID != rec.ID || e.Source.Stream != st.Name || e.Record.Terminal != rec.Terminal:
		return errors.New("id, stream or terminal are not the record's")
	case e.Source.System == "" || e.Source.Account == "":
		return errors.New("system or account are empty")
	case st.Leaves && e.Channel != st.Channel:
		return errors.New("channel is not the stream's")
	case !e.CreatedAt.Equal(rec.Created):
		return fmt.Errorf("createdAt is %v, not %v", e.CreatedAt, rec.Created)
	case pipelines(e):
		return errors.New("id, revision, observedAt, left, replay, privacy or raw are set; they are the pipeline's")
	case (e.Webhook != nil) != (e.Channel == schema.ChannelWebhook) || (e.SMS != nil) != (e.Channel == schema.ChannelSMS):
		return fmt.Errorf("the section is not that of channel %q", e.Channel)
	}
	for name := range e.Section {
		if name != e.Source.System {
			return fmt.Errorf("the provider's fields are under %q, not under %q, the system", name, e.Source.System)
		}
	}
	return nil
}

// pipelines reports whether a field of e is set that the pipeline sets.
func pipelines(e schema.Event) bool {
	return e.ID != "" || e.Record.Revision != 0 || !e.ObservedAt.IsZero() || e.Record.Left || e.Replay != "" ||
		e.Privacy != "" || e.Raw != "" || e.RawBase64 != ""
}

// encode returns the body of an event as the pipeline publishes it.
func encode(e schema.Event) ([]byte, error) {
	e.Record.Revision, e.ObservedAt, e.Privacy = 1, time.Unix(0, 0).UTC(), schema.PrivacyOff
	m, err := e.Message(schema.Format{})
	return m.Body, err
}
