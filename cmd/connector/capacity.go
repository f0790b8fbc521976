package main

import (
	"fmt"
	"strings"
	"time"

	"connector/internal/config"
	"connector/sources"
)

const day = 24 * time.Hour

// demand is what the accounts of one credential ask of its budget.
type demand struct {
	accounts []string
	streams  int
	polls    int // a day; each takes a request or more
}

// add adds the streams of one account.
func (d *demand) add(a config.Account, streams []sources.Stream) {
	d.accounts = append(d.accounts, a.Name)
	d.streams += len(streams)
	d.polls += len(streams) * int(day/a.Common.PollInterval)
}

// capacity says what a budget of one request per interval can carry, when an
// answer has at most so many rows, or any number for 0.
func (d *demand) capacity(every time.Duration, rows int) string {
	requests := int(day / every)
	text := fmt.Sprintf("%d requests a day", requests)
	if len(d.accounts) > 1 {
		text += " shared by " + strings.Join(d.accounts, ", ")
	}
	left := requests - d.polls
	switch {
	case left <= 0:
		return text + fmt.Sprintf(", %d polls want them all: rows come late, older ones are not read again; raise POLL_INTERVAL of each account", d.polls)
	case rows == 0:
		return text + fmt.Sprintf(", %d of them polls; the rows of an answer have no known limit", d.polls)
	default:
		return text + fmt.Sprintf(", %d of them polls; the others read at most %d rows a day, those read again included", d.polls, left*rows)
	}
}
