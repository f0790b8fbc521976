package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/config"
	"connector/schema"
	"connector/sinks"
)

// maxLetters bounds the dead letters that are held at once.
const maxLetters = 100_000

// The states of a dead letter.
const (
	unresolved = "unresolved"
	resolvedAs = "resolved"
)

// deadLetter is one dead letter with all its repetitions and its resolution.
type deadLetter struct {
	ID         string          `json:"id"`
	Source     schema.Source   `json:"source"`
	RecordID   string          `json:"recordId"`
	Class      string          `json:"class"`
	Reason     string          `json:"reason"`
	FirstSeen  time.Time       `json:"firstSeen"`
	LastSeen   time.Time       `json:"lastSeen"`
	Times      int             `json:"times"` // written
	Position   schema.Position `json:"position"`
	Digest     string          `json:"rawDigest"`
	Replay     string          `json:"replay,omitzero"` // that wrote it last
	State      string          `json:"state"`
	Outcome    schema.Outcome  `json:"outcome,omitzero"` // of a resolved one
	EventID    string          `json:"eventId,omitzero"`
	ResolvedAt time.Time       `json:"resolvedAt,omitzero"`
}

func (d *deadLetter) stream() string { return d.Source.Account + "/" + d.Source.Stream }

// deadLetterFlags choose dead letters.
type deadLetterFlags struct {
	spanFlags
	class string
}

func (f *deadLetterFlags) wants(d *schema.DeadLetter) bool {
	return f.chooses(d.Source.Account, d.Source.Stream) && (f.class == "" || f.class == d.Class)
}

// record names a record, as dead letters do.
type record struct {
	source schema.Source
	id     string
}

// fold makes a list of the messages beside the dead letters, in their order. It
// holds what is unresolved, and what is resolved if that is wanted.
type fold struct {
	flags  deadLetterFlags
	all    bool            // hold resolved ones, too
	begin  []string        // what ids begin with; nil: all
	wanted map[string]bool // ids; nil: all

	byID   map[string]*deadLetter
	open   map[record][]*deadLetter
	others map[string]bool // streams that the flags do not choose, and classes of those that they do
	beyond int             // dead letters for which there was no room

	seen func(r sinks.Received, id string) // of every dead letter that is wanted; nil: nobody
}

func newFold(flags deadLetterFlags, all bool) *fold {
	return &fold{flags: flags, all: all, byID: map[string]*deadLetter{}, open: map[record][]*deadLetter{}, others: map[string]bool{}}
}

// add takes the next message.
func (f *fold) add(r sinks.Received) error {
	if r.Attribute("type") == schema.ResolutionType {
		var res schema.Resolution
		if err := json.Unmarshal(r.Body, &res); err != nil {
			return fmt.Errorf("resolution at %s is not of this schema: %w", r.Position, err)
		}
		f.resolve(&res)
		return nil
	}
	var d schema.DeadLetter
	if err := json.Unmarshal(r.Body, &d); err != nil {
		return fmt.Errorf("dead letter at %s is not of this schema: %w", r.Position, err)
	}
	switch {
	case f.flags.wants(&d):
	case f.flags.chooses(d.Source.Account, d.Source.Stream):
		f.others[d.Class] = true
		return nil
	default:
		f.others[d.Source.Account+"/"+d.Source.Stream] = true
		return nil
	}
	id := r.Attribute("id")
	if f.begin != nil && !slices.ContainsFunc(f.begin, func(s string) bool { return strings.HasPrefix(id, s) }) || f.wanted != nil && !f.wanted[id] {
		return nil
	}
	f.hold(id, &d)
	if f.seen != nil {
		f.seen(r, id)
	}
	return nil
}

// hold takes a dead letter, or a repetition of one.
func (f *fold) hold(id string, d *schema.DeadLetter) {
	l := f.byID[id]
	if l == nil {
		if len(f.byID) == maxLetters {
			f.beyond++
			return
		}
		l = &deadLetter{ID: id, Source: d.Source, RecordID: d.RecordID, FirstSeen: d.ObservedAt.UTC(), Digest: d.RawDigest}
		f.byID[id] = l
	}
	l.Class, l.Reason, l.LastSeen, l.Position, l.Replay, l.Times = d.Class, d.Reason, d.ObservedAt.UTC(), d.Position, d.Replay, l.Times+1
	if l.State != unresolved {
		l.State, l.Outcome, l.EventID, l.ResolvedAt = unresolved, "", "", time.Time{}
		of := record{l.Source, l.RecordID}
		f.open[of] = append(f.open[of], l)
	}
}

// resolve takes a resolution: of all dead letters of the record so far.
func (f *fold) resolve(r *schema.Resolution) {
	of := record{r.Source, r.RecordID}
	for _, l := range f.open[of] {
		l.State, l.Outcome, l.EventID, l.ResolvedAt = resolvedAs, r.Outcome, r.EventID, r.ResolvedAt.UTC()
		if r.DeadLetterID != "" && r.DeadLetterID != l.ID {
			l.Outcome = schema.Superseded
		}
		if !f.all {
			delete(f.byID, l.ID)
		}
	}
	delete(f.open, of)
}

// none says that nothing is held, and what the flags leave out: one may be mistyped.
func (f *fold) none() string {
	none := "there is no such dead letter"
	if !f.all {
		none = "no such dead letter is unresolved"
	}
	if len(f.others) == 0 {
		return none
	}
	return none + "; the flags leave out " + strings.Join(slices.Sorted(maps.Keys(f.others)), ", ")
}

// list returns what is held, the oldest first.
func (f *fold) list() []*deadLetter {
	list := make([]*deadLetter, 0, len(f.byID))
	for _, l := range f.byID {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *deadLetter) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), strings.Compare(a.ID, b.ID))
	})
	return list
}

// overflow says that there was no room for all, or nothing.
func (f *fold) overflow() string {
	if f.beyond == 0 {
		return ""
	}
	return fmt.Sprintf("there are more than %d dead letters: %d messages were left out; choose some by --account, --stream or --class, or resolve these first", maxLetters, f.beyond)
}

// readDeadLetters reads all that lies beside the dead letters of the configured sink.
func readDeadLetters(ctx context.Context, cfg *config.Config, env environment, yield func(sinks.Received) error) error {
	read := sinkKinds[cfg.Connector.Sink].tail
	if read == nil {
		return usageError{fmt.Errorf("sink %s cannot be read: set CONNECTOR_SINK to another", cfg.Connector.Sink)}
	}
	opts := sinks.TailOptions{FromStart: true, Dead: true, NoEvents: true}
	if err := read(ctx, cfg.Sink, placeOf(cfg, env, slog.New(slog.DiscardHandler)), opts, yield); err != nil {
		return fmt.Errorf("reading the dead letters of sink %s: %w", cfg.Connector.Sink, err)
	}
	return nil
}
