package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/schema"
	"connector/sinks"
)

// tally compares what the simulators served with what a reader of the sink found.
type tally struct {
	served, poisoned int // distinct row versions, distinct poison rows
	requests         int
	events, dead     int            // messages in the sink
	missing          int            // served and not in the sink
	lost             apisim.Version // the first of those
	duplicates       int            // in the sink more than once
	foreign          int            // in the sink and never served
}

// count reads the whole sink from its start.
func count(ctx context.Context, cfg *config.Config, at place, p *providers) (tally, error) {
	var t tally
	found := map[apisim.Version]int{}
	err := sinkKinds[cfg.Connector.Sink].tail(ctx, cfg.Sink, at, sinks.TailOptions{FromStart: true, Dead: true}, func(r sinks.Received) error {
		if r.Dead {
			if r.Attribute("type") == schema.DeadLetterType {
				t.dead++
			}
			return nil
		}
		v, err := versionOf(r.Body)
		if err != nil {
			return fmt.Errorf("event at %s: %w", r.Position, err)
		}
		t.events++
		found[v]++
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("counting what arrived: %w", err)
	}
	t.compare(append(p.ekuaibao.Served(), p.submail.Served()...), found)
	t.poisoned = len(p.ekuaibao.Poisoned()) + len(p.submail.Poisoned())
	t.requests = p.ekuaibao.Stats().Answers + p.submail.Stats().Answers
	return t, nil
}

// versionOf names the version of an event as the simulators do.
func versionOf(body []byte) (apisim.Version, error) {
	var e schema.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return apisim.Version{}, fmt.Errorf("not an event: %w", err)
	}
	version := e.Record.Version
	if e.Source.System == "submail" {
		version = e.ProviderStatus
	}
	return apisim.Version{System: e.Source.System, Stream: e.Source.Stream, RecordID: e.Record.ID, Version: version}, nil
}

func (t *tally) compare(served []apisim.Version, found map[apisim.Version]int) {
	t.served = len(served)
	known := map[apisim.Version]bool{}
	for _, v := range served {
		known[v] = true
		if found[v] == 0 {
			if t.missing++; t.missing == 1 {
				t.lost = v
			}
		}
	}
	for v, n := range found {
		t.duplicates += n - 1
		if !known[v] {
			t.foreign++
		}
	}
}

// report prints the tally; its error says that a promise was broken.
func (t *tally) report(v *view, took time.Duration) error {
	bad := t.missing + t.duplicates + t.foreign
	colour := green
	if bad > 0 || t.dead != t.poisoned {
		colour = red
	}
	_, err := fmt.Fprintf(v.w, `
ran for           %v, %d answers of the providers
row versions      %d served by the providers
events            %d found in the stream by a separate reader
%s
dead letters      %d of %d unreadable rows
`, took.Round(time.Second), t.requests, t.served, t.events,
		v.paint(colour, fmt.Sprintf("missing %d, duplicates %d, never served %d", t.missing, t.duplicates, t.foreign)), t.dead, t.poisoned)
	if err != nil {
		return err
	}
	if t.missing > 0 {
		return fmt.Errorf("what arrived is not what was served: version %s of record %s of %s/%s is missing", t.lost.Version, t.lost.RecordID, t.lost.System, t.lost.Stream)
	}
	if colour == red {
		return errors.New("what arrived is not what was served")
	}
	return nil
}
