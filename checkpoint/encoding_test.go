package checkpoint_test

import (
	"bytes"
	"testing"
	"time"

	"connector/checkpoint"
)

func FuzzLoad(f *testing.F) {
	l := checkpoint.New(prefix, t0, tick)
	b := l.Begin()
	b.Admit(rec("a", 1, 7, "p", true), span(0, 10))
	b.Cover(span(0, 10), span(0, 100).To, time.Second, tick)
	head := b.Entries()[0]
	for _, e := range b.Entries() {
		f.Add(e.Key, e.Value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		entries := []checkpoint.Entry{head, {Key: key, Value: value}}
		l, err := checkpoint.Load(prefix, entries)
		if err != nil || key != head.Key {
			return
		}
		if got := l.Begin().Entries()[0].Value; !bytes.Equal(got, value) {
			t.Errorf("got %x after a round trip, want %x", got, value)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	head := checkpoint.New(prefix, t0, tick).Begin().Entries()[0]
	for name, e := range map[string]checkpoint.Entry{
		"another stream":   {Key: "hq/other/h", Value: make([]byte, 25)},
		"unknown key":      {Key: prefix + "x", Value: []byte{1}},
		"short head":       {Key: prefix + "h", Value: []byte{1, 2}},
		"newer encoding":   {Key: prefix + "h", Value: append([]byte{9}, make([]byte, 24)...)},
		"no record id":     {Key: prefix + "r/zz", Value: make([]byte, 38)},
		"truncated record": {Key: prefix + "r/0123456789abcdef", Value: []byte{1, 0}},
	} {
		if _, err := checkpoint.Load(prefix, []checkpoint.Entry{head, e}); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	record := checkpoint.Entry{Key: prefix + "r/0123456789abcdef", Value: append([]byte{1}, make([]byte, 37)...)}
	if _, err := checkpoint.Load(prefix, []checkpoint.Entry{record}); err == nil {
		t.Error("records without a head: got no error")
	}
}
