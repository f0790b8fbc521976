package pipeline_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connector/pipeline"
	"connector/schema"
	"connector/sources"
)

// careless makes events that are not as the schema says of the rows whose id begins with "bad".
type careless struct{ *provider }

func (c careless) Normalize(s sources.Stream, r sources.Record) (schema.Event, error) {
	e, err := c.provider.Normalize(s, r)
	e.CreatedAt = e.CreatedAt.UTC()
	if e.Section = nil; r.ID[:3] == "bad" {
		e.SMS, e.Section = nil, map[string]any{"sms": map[string]any{"text": 13812345678}}
	}
	return e, err
}

func TestValidate(t *testing.T) {
	validator, err := schema.NewValidator(schema.Released().Newest().Event)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		every      int
		ids        []string // the oldest row first
		structured bool
		want, dead []string
	}{
		{"off", 0, []string{"bad"}, false, []string{"bad"}, nil},
		{"all", 1, []string{"good 1", "bad", "good 2"}, false, []string{"good 1", "good 2"}, []string{"bad"}},
		{"all, structured", 1, []string{"good", "bad"}, true, []string{"good"}, []string{"bad"}},
		{"the first", 1000, []string{"bad 1", "bad 2"}, false, []string{"bad 2"}, []string{"bad 1"}},
		{"every other", 2, []string{"good 1", "bad 2", "bad 3", "bad 4"}, false, []string{"good 1", "bad 2", "bad 4"}, []string{"bad 3"}},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{streams: []string{"s"}, rows: map[string][]row{}}
			for i, id := range tt.ids {
				p.rows["s"] = append(p.rows["s"], row{id: id, created: at(time.Duration(i-60) * time.Second)})
			}
			sink := &memory{lax: true}
			for range 2 { // a restart publishes none of them again
				opts := options(p, sink)
				opts.Accounts[0].Source = careless{p}
				opts.Format.Structured = tt.structured
				opts.Validate = pipeline.Validate{Every: tt.every, Validator: validator}
				if err := runFor(t, opts, 5*time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			var dead []string
			for _, m := range sink.dead {
				dead = append(dead, m.RecordID)
				if !bytes.Contains(m.Body, []byte(`"invalid"`)) || !bytes.Contains(m.Body, []byte("/sms/text: type, want string")) || bytes.Contains(m.Body, []byte("13812345678")) {
					t.Errorf("%s: got the dead letter %s", tt.name, m.Body)
				}
			}
			if got := sink.versions(); !slices.Equal(got, tt.want) || !slices.Equal(dead, tt.dead) {
				t.Errorf("%s: got events %q and dead letters %q, want %q and %q", tt.name, got, dead, tt.want, tt.dead)
			}
		})
	}
}

// TestValidateOfDeadLetters wants that neither a replay nor a retry publishes an event that was
// found invalid, because it is not its turn to be checked.
func TestValidateOfDeadLetters(t *testing.T) {
	validator, err := schema.NewValidator(schema.Released().Newest().Event)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "bad 1", created: at(-2 * time.Minute)}, {id: "bad 2", created: at(-time.Minute)}}}}
		sink := &memory{lax: true}
		with := func(every int) pipeline.Options {
			opts := options(p, sink)
			opts.Accounts[0].Source = careless{p}
			opts.Validate = pipeline.Validate{Every: every, Validator: validator}
			return opts
		}
		if err := runFor(t, with(1), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := pipeline.New(with(1000)).Replay(since(time.Hour)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := sink.versions(); len(got) != 0 {
			t.Errorf("the replay published %q, want nothing", got)
		}
		if got, want := retry(t, with(1000), pipeline.Retry{}), "bad 1 failing, bad 2 failing"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := retry(t, with(0), pipeline.Retry{}), "bad 1 published, bad 2 published"; got != want {
			t.Errorf("unchecked: got %q, want %q", got, want)
		}
	})
}
