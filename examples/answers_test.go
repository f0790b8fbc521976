package examples

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// answers are the tables that every example must print, by what they answer; without the heads.
type answers struct{ failureRate, latency, unresolved [][]string }

// answer computes the answers from the rows as they were made: what the connector and the examples did plays no part.
func answer(hq, otp, alerts []row) answers {
	return answers{
		failureRate: failureRate(hq),
		latency:     slices.Concat(latency(alerts), latency(otp)),
		unresolved:  unresolved(slices.Concat(hq, otp, alerts)),
	}
}

// failureRate counts the calls of each hour and node, those that have failed at last, and those that left the log.
func failureRate(calls []row) [][]string {
	type key struct{ hour, node string }
	counts := map[key][3]int{}
	for _, r := range calls {
		k := key{r.created.Format("2006-01-02T15:00Z"), cmp.Or(r.node, "-")}
		c := counts[k]
		c[0]++
		switch {
		case r.left():
			c[2]++
		case r.last().status == "FAILURE":
			c[1]++
		}
		counts[k] = c
	}
	var table [][]string
	for k, c := range counts {
		table = append(table, []string{k.hour, k.node, fmt.Sprint(c[0]), fmt.Sprint(c[1]), fmt.Sprint(c[2]), fmt.Sprintf("%.1f", 100*float64(c[1])/float64(c[0]))})
	}
	slices.SortFunc(table, slices.Compare)
	return table
}

// latency lists percentiles (nearest rank) of the seconds to delivery of one account.
func latency(texts []row) [][]string {
	var seconds []int
	for _, r := range texts {
		v := r.last()
		if v.status != "delivered" {
			continue
		}
		until := v.sent
		if r.reports {
			until = v.at
		}
		seconds = append(seconds, int(until.Sub(r.created)/time.Second))
	}
	slices.Sort(seconds)
	line := []string{texts[0].account, fmt.Sprint(len(seconds))}
	for _, percent := range []int{50, 90, 99} {
		line = append(line, fmt.Sprint(seconds[(percent*len(seconds)+99)/100-1]))
	}
	return [][]string{line}
}

// unresolved lists what the provider may still change, oldest first.
func unresolved(rows []row) [][]string {
	status := map[string]string{"FAILURE": "failed", "request": "pending", "sending": "pending", "unknown": "unknown"}
	var table [][]string
	for _, r := range rows {
		if s, open := status[r.last().status]; open && !r.left() {
			table = append(table, []string{r.created.Format("2006-01-02T15:04:05Z"), r.account, r.stream, r.id, s, r.last().status})
		}
	}
	slices.SortFunc(table, slices.Compare)
	return table
}
