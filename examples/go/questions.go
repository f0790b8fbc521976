package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Print answers the three questions.
func (s *State) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s.failureRate(t)
	s.latency(t)
	s.unresolved(t)
	return t.Flush()
}

// failureRate prints, for each hour and node, how many calls there were, how many of them have failed as of their latest
// version, and how many left the log, so that nobody can say what became of them.
func (s *State) failureRate(w io.Writer) {
	type group struct{ hour, node string }
	type count struct{ calls, failed, left int }
	counts := map[group]count{}
	for _, e := range s.rows {
		if e.Channel != "webhook" {
			continue
		}
		g := group{e.Created.UTC().Format("2006-01-02T15:00Z"), cmp.Or(e.Webhook.NodeName, "-")}
		c := counts[g]
		c.calls++
		switch {
		case e.Record.Left:
			c.left++
		case e.Status == "failed":
			c.failed++
		}
		counts[g] = c
	}
	groups := make([]group, 0, len(counts))
	for g := range counts {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.node, b.node)) })

	fmt.Fprintln(w, "== Which share of the logged calls has failed, by node and hour?\nhour\tnode\tcalls\tfailed\tleft\tfailed_percent")
	for _, g := range groups {
		c := counts[g]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%.1f\n", g.hour, g.node, c.calls, c.failed, c.left, 100*float64(c.failed)/float64(c.calls))
	}
}

// latency prints percentiles of the seconds from the creation of a message to its delivery: to the carrier's report, or,
// where the provider names none, to the time of sending.
func (s *State) latency(w io.Writer) {
	seconds := map[string][]int{} // by account
	for _, e := range s.rows {
		if e.Channel != "sms" || e.Status != "delivered" {
			continue
		}
		until := e.SMS.Reported
		if until.IsZero() {
			until = e.SMS.Sent
		}
		if !until.IsZero() {
			seconds[e.Source.Account] = append(seconds[e.Source.Account], int(until.Sub(e.Created)/time.Second))
		}
	}
	accounts := make([]string, 0, len(seconds))
	for a := range seconds {
		accounts = append(accounts, a)
	}
	slices.Sort(accounts)

	fmt.Fprintln(w, "== How many seconds does the delivery of a text message take?\naccount\tdelivered\tp50\tp90\tp99")
	for _, a := range accounts {
		list := seconds[a]
		slices.Sort(list)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", a, len(list), percentile(list, 50), percentile(list, 90), percentile(list, 99))
	}
}

// percentile returns the smallest value that at least so many percent of the values do not exceed (nearest rank).
func percentile(sorted []int, percent int) int {
	return sorted[(percent*len(sorted)+99)/100-1]
}

// unresolved prints the rows that the provider may still change, oldest first.
func (s *State) unresolved(w io.Writer) {
	var open []Event
	for _, e := range s.rows {
		if !e.Record.Terminal && !e.Record.Left {
			open = append(open, e)
		}
	}
	slices.SortFunc(open, func(a, b Event) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Source.Account, b.Source.Account), cmp.Compare(a.Record.ID, b.Record.ID))
	})

	fmt.Fprintln(w, "== Which messages are unresolved?\ncreated\taccount\tstream\trecord\tstatus\tprovider_status")
	for _, e := range open {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Created.UTC().Format(time.RFC3339), e.Source.Account, e.Source.Stream, e.Record.ID, e.Status, cmp.Or(e.Word, "-"))
	}
}
