package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"connector/checkpoint"
	"connector/sources"
)

func showCommand(env environment) *cobra.Command {
	var flags spanFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "Show what was read of each stream as a line over time, with its ranges and savepoints",
		Long: `Show of each stream what is known of which time: a line over time, of which a column shows
the least that is known of its time, then every range, and the savepoints that "checkpoint
rewind" can go back to. Records are counted by the five minutes of their creation: those that
two ranges share count in both.`,
		Example: "  connector checkpoint show\n  connector checkpoint show --account hq --stream flow --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			return viewCheckpoint(c.Context(), env, flags, func(_ checkpoint.Fence, streams []stored) error {
				for _, s := range streams {
					if err := showStream(env, s); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	outputFlag(c, &env.output, "text", "json")
	flags.addChoice(c)
	return c
}

// coverState is what people are shown of a range.
type coverState struct {
	letter byte
	colour string
	word   string
	means  string
}

// coverStates are ordered from the least known to what is read no more: a column shows the first that it holds.
var coverStates = []coverState{
	{'L', red, "lost", "a gap that was given up: rows may be missing"},
	{'G', red, "gap", "read, but rows may be missing: tried again"},
	{'u', yellow, "unread", "to be read"},
	{'b', yellow, "backfill", "to be read when nothing else is"},
	{'.', grey, "not asked for", "before the start; see connector backfill"},
	{'y', green, "young", "read; late rows may appear"},
	{'w', green, "watched", "read; open records may change"},
	{'s', grey, "sealed", "read, and read no more"},
}

// stretch is a range as it is shown.
type stretch struct {
	sources.Span
	rank          int // in coverStates
	records, open int // that the ledger holds of its time, to five minutes
}

func (s stretch) state() coverState { return coverStates[s.rank] }

// stretches returns all ranges of a ledger; unread time before the start is apart.
func stretches(l *checkpoint.Ledger) []stretch {
	var all []stretch
	for _, r := range l.Ranges() {
		word := r.State.String()
		if start := l.Start(); r.State == checkpoint.Unread && r.From.Before(start) {
			before := r.Span
			if !before.To.Before(start) {
				before.To = start.Add(-time.Millisecond)
			}
			all = append(all, stretch{Span: before, rank: rankOf("not asked for")})
			if r.From = start; r.Empty() {
				continue
			}
		}
		all = append(all, stretch{Span: r.Span, rank: rankOf(word)})
	}
	for i := range all {
		all[i].records, all[i].open = l.Records(all[i].From, all[i].To)
	}
	return all
}

func rankOf(word string) int {
	for i, s := range coverStates {
		if s.word == word {
			return i
		}
	}
	return 0
}

// columns is the width of a line over time.
const columns = 72

// timeline draws stretches, which ascend, over the time from the first to the last.
func timeline(all []stretch) (line []int, column time.Duration) {
	from := all[0].From
	whole := all[len(all)-1].To.Sub(from) + 1
	column = max(whole/columns, 1)
	line = make([]int, columns)
	for i := range line {
		line[i] = len(coverStates)
	}
	for _, s := range all {
		first, last := int(s.From.Sub(from)/column), int(s.To.Sub(from)/column)
		for i := first; i <= min(last, columns-1); i++ {
			line[i] = min(line[i], s.rank)
		}
	}
	return line, column
}

type streamCoverage struct {
	storedID
	Start      time.Time   `json:"start"`
	Frontier   time.Time   `json:"frontier"`
	End        time.Time   `json:"end"`
	Records    int         `json:"records"`
	Ranges     []rangeLine `json:"ranges"`
	GivenUp    []dayLine   `json:"givenUp"`
	Savepoints []time.Time `json:"savepoints"`
}

// dayLine sums the records of one UTC day that were given up.
type dayLine struct {
	Day     string `json:"day"`
	Records int    `json:"records"`
	Open    int    `json:"open"`   // that might have changed still
	Digest  string `json:"digest"` // equal for equal sets of record ids
}

func givenUp(l *checkpoint.Ledger) []dayLine {
	list := []dayLine{}
	for _, d := range l.Sealed() {
		list = append(list, dayLine{d.Start.Format(time.DateOnly), d.Records, d.Open, fmt.Sprintf("%016x", d.Digest)})
	}
	return list
}

type rangeLine struct {
	State   string    `json:"state"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Seconds float64   `json:"seconds"`
	Records int       `json:"records"`
	Open    int       `json:"open"`
}

func showStream(env environment, s stored) error {
	l, all := s.ledger, stretches(s.ledger)
	if env.output == "json" {
		out := streamCoverage{storedID: s.id(), Start: l.Start(), Frontier: l.Frontier(), End: l.End(), Records: l.Held(), Ranges: []rangeLine{}, GivenUp: givenUp(l), Savepoints: append([]time.Time{}, l.Savepoints()...)}
		for _, r := range all {
			out.Ranges = append(out.Ranges, rangeLine{r.state().word, r.From, r.To, r.To.Sub(r.From).Seconds(), r.records, r.open})
		}
		return json.NewEncoder(env.stdout).Encode(out)
	}
	v := newView(env)
	_, _ = fmt.Fprintf(v.w, "%s  from %s on, %d records known\n", s.name(), second(l.Start()), l.Held()) // a later write fails, too
	if len(all) == 0 {
		_, err := fmt.Fprint(v.w, "  nothing was read\n\n")
		return err
	}
	v.timeline(all)
	if err := v.stretches(all); err != nil {
		return err
	}
	if records, open := l.GivenUp(); records > 0 {
		_, _ = fmt.Fprintf(v.w, "  given up: %d records, %d of which might have changed still; by day with --output json\n", records, open)
	}
	_, err := fmt.Fprintf(v.w, "  savepoints: %s\n\n", saves(l.Savepoints()))
	return err
}

func (v *view) timeline(all []stretch) {
	line, column := timeline(all)
	var b strings.Builder
	used := map[int]bool{}
	for _, rank := range line {
		if rank == len(coverStates) {
			b.WriteByte(' ')
			continue
		}
		used[rank] = true
		b.WriteString(v.paint(coverStates[rank].colour, string(coverStates[rank].letter)))
	}
	_, _ = fmt.Fprintf(v.w, "  %s to %s, a column is %s\n  |%s|\n", second(all[0].From), second(all[len(all)-1].To), days(column), b.String())
	for rank, s := range coverStates {
		if used[rank] {
			_, _ = fmt.Fprintf(v.w, "  %s %s: %s\n", v.paint(s.colour, string(s.letter)), s.word, s.means)
		}
	}
}

func (v *view) stretches(all []stretch) error {
	t := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  state\tfrom\tto\tlength\trecords\tmay change")
	doubtful := 0
	for _, s := range all {
		if w := s.state().word; w == "gap" || w == "lost" {
			doubtful++
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%d\n", s.state().word, second(s.From), second(s.To), days(s.To.Sub(s.From)), s.records, s.open)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if doubtful == 0 {
		return nil
	}
	_, err := fmt.Fprintf(v.w, "  %s\n", v.paint(red, fmt.Sprintf("rows may be missing in %d range(s), gap or lost above", doubtful)))
	return err
}

// saves lists savepoints.
func saves(list []time.Time) string {
	if len(list) == 0 {
		return "none"
	}
	texts := make([]string, len(list))
	for i, at := range list {
		texts[i] = second(at)
	}
	return strings.Join(texts, ", ")
}
