package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"connector/schema"
	"connector/sinks"
)

// view prints messages for people, in colour on a terminal.
type view struct {
	w      io.Writer
	colour bool
}

// newView follows https://no-color.org.
func newView(env environment) *view {
	f, ok := env.stdout.(*os.File)
	return &view{w: env.stdout, colour: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// ANSI colours.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
)

func (v *view) paint(colour, text string) string {
	if !v.colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

var statusColours = map[schema.Status]string{schema.Delivered: green, schema.Failed: red, schema.Pending: yellow, schema.Unknown: grey}

// event prints one line: when the row changed, where it was read, what
// became of it, and which version of which record it is.
func (v *view) event(e *schema.Event) error {
	at := e.UpdatedAt
	if at.IsZero() {
		at = e.CreatedAt
	}
	given := ""
	if !strings.EqualFold(e.ProviderStatus, string(e.Status)) {
		given = " (" + e.ProviderStatus + ")"
	}
	which := e.Record.ID
	if e.Record.Revision > 0 {
		which += fmt.Sprintf("  revision %d", e.Record.Revision)
	}
	_, err := fmt.Fprintf(v.w, "%s  %-28s  %s  %s\n", v.paint(grey, at.Local().Format(time.DateTime)), e.Source.Account+"/"+e.Source.Stream,
		v.paint(statusColours[e.Status], fmt.Sprintf("%-22s", string(e.Status)+given)), which+replayed(e.Replay))
	return err
}

// replayed says that a message was published again.
func replayed(id string) string {
	if id == "" {
		return ""
	}
	return "  replay " + id
}

func (v *view) deadLetter(d *schema.DeadLetter) error {
	_, err := fmt.Fprintf(v.w, "%s  %-28s  %s  %s: %s%s\n", v.paint(grey, d.ObservedAt.Local().Format(time.DateTime)), d.Source.Account+"/"+d.Source.Stream,
		v.paint(red, fmt.Sprintf("%-22s", "dead letter")), d.Class, d.Reason, replayed(d.Replay))
	return err
}

func (v *view) resolution(r *schema.Resolution) error {
	_, err := fmt.Fprintf(v.w, "%s  %-28s  %s  %s\n", v.paint(grey, r.ResolvedAt.Local().Format(time.DateTime)), r.Source.Account+"/"+r.Source.Stream,
		v.paint(green, fmt.Sprintf("%-22s", "dead letter resolved")), r.RecordID+"  "+string(r.Outcome))
	return err
}

// received prints a message of a sink.
func (v *view) received(r sinks.Received) error {
	if r.Attribute("type") == schema.ResolutionType {
		var s schema.Resolution
		if err := json.Unmarshal(r.Body, &s); err != nil {
			return fmt.Errorf("resolution at %s is not of this schema: %w", r.Position, err)
		}
		return v.resolution(&s)
	}
	if r.Dead {
		var d schema.DeadLetter
		if err := json.Unmarshal(r.Body, &d); err != nil {
			return fmt.Errorf("dead letter at %s is not of this schema: %w", r.Position, err)
		}
		return v.deadLetter(&d)
	}
	var e schema.Event
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return fmt.Errorf("event at %s is not of this schema: %w", r.Position, err)
	}
	return v.event(&e)
}

// asJSON prints a message of a sink as one line of JSON: the CloudEvents
// attributes, data, and the position in the sink.
func asJSON(w io.Writer, r sinks.Received) error {
	line := map[string]any{"position": r.Position, "data": jsontext.Value(r.Body)}
	for _, a := range r.Attributes {
		line[a.Name] = a.Value
	}
	encoded, err := json.Marshal(line, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("message at %s: %w", r.Position, err)
	}
	_, err = w.Write(append(encoded, '\n'))
	return err
}
