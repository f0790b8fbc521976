package nats

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/internal/fault"
)

// batchLevel is the API level of the first server with atomic batches, 2.12.
const batchLevel = 2

// minMessage is the least a stream must take in one message, for the pages of
// the checkpoint.
const minMessage = 512<<10 + headroom

// lack is something that exactly once needs and the server or stream has not.
type lack struct{ what, remedy string }

func (l lack) String() string { return l.what + ": " + l.remedy }

// lacks lists what is missing for storing events and state as one.
func (c *client) lacks(ctx context.Context) ([]lack, error) {
	var info *jetstream.AccountInfo
	err := c.guard(ctx, func(ctx context.Context) (err error) {
		info, err = c.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking what the NATS server can do: %w", err)
	}
	if info.API.Level < batchLevel {
		// A server that does not know the stream's options drops them.
		return []lack{{fmt.Sprintf("NATS server %s has no atomic batches", c.conn.ConnectedServerVersion()), "upgrade it to 2.12 or later, then run: " + c.edit("--allow-batch")}}, nil
	}
	return c.streamLacks(), nil
}

// edit returns the command that changes the stream.
func (c *client) edit(flags string) string { return "nats stream edit " + c.cfg.Stream + " " + flags }

// checkpointWarnings says what in a stream that lacks nothing weakens the
// guarantee because it holds the checkpoint.
func (c *client) checkpointWarnings() []lack {
	var list []lack
	if c.stream.MaxBytes <= 0 {
		list = append(list, lack{"it has no max_bytes: where the server's storage runs out in the middle of a commit, readers may see a part of it before it is deleted and made again", c.edit("--max-bytes BYTES")})
	}
	if c.stream.MaxAge > 0 {
		list = append(list, lack{
			fmt.Sprintf("it has a max_age (%v), which also ends the checkpoint: a server that starts deletes all messages of that age, those that are never to be deleted, too, and the connector refuses to go on", c.stream.MaxAge),
			fmt.Sprintf("set it to 0, and delete old events with nats stream purge %s --subject '%s' --keep N", c.cfg.Stream, subjectOf(c.cfg.SubjectPrefix, eventToken)),
		})
	}
	return list
}

func (c *client) streamLacks() []lack {
	s, subject := &c.stream, subjectOf(c.cfg.SubjectPrefix, checkpointToken)
	limited := s.MaxBytes > 0 || s.MaxMsgs > 0
	var list []lack
	for _, l := range []struct {
		missing      bool
		what, remedy string
	}{
		{!s.AllowAtomicPublish, "it takes no atomic batches", c.edit("--allow-batch")},
		{!covers(s.Subjects, subject), "its subjects do not include " + subject, c.edit("--subjects '" + strings.Join(append(s.Subjects[:len(s.Subjects):len(s.Subjects)], subject), "' --subjects '") + "'")},
		{s.Discard != jetstream.DiscardNew && limited, "when it is full it drops the oldest messages, the checkpoint's too", c.edit("--discard new")},
		{s.MaxAge > 0 && !s.AllowMsgTTL, "it deletes the checkpoint's messages by their age", "set its max_age to 0"},
		{s.MaxMsgsPerSubject > 0, "it limits the messages of a subject", c.edit("--max-msgs-per-subject -1")},
		{s.DenyPurge, "superseded state cannot be deleted from it (deny_purge)", "this cannot be changed: set NATS_STREAM and NATS_SUBJECT_PREFIX to new names"},
		{s.Storage == jetstream.MemoryStorage, "it is kept in memory", "storage cannot be changed: set NATS_STREAM and NATS_SUBJECT_PREFIX to new names"},
		{s.MaxMsgSize > 0 && s.MaxMsgSize < minMessage, fmt.Sprintf("a message of %d bytes is too large for it", minMessage), c.edit(fmt.Sprintf("--max-msg-size %d", 1<<20))},
		{c.conn.MaxPayload() < minMessage, fmt.Sprintf("a message of %d bytes is too large for the server", minMessage), "raise max_payload in its configuration to 1MB"},
	} {
		if l.missing {
			list = append(list, lack{l.what, l.remedy})
		}
	}
	return list
}

// lacksError is the fatal error for a stream that holds a checkpoint, or is to
// store events with it, and cannot.
func lacksError(stream string, lacks []lack) error {
	what, remedies := make([]string, len(lacks)), make([]string, len(lacks))
	for i, l := range lacks {
		what[i], remedies[i] = l.what, l.remedy
	}
	return fault.Fatal(fmt.Errorf("NATS stream %s cannot store events and checkpoint as one: %s", stream, strings.Join(what, "; ")), strings.Join(remedies, "; "))
}

// refuseStored refuses to go on without the checkpoint that the stream holds.
func (c *client) refuseStored(ctx context.Context, lacks []lack) error {
	fences := c.cfg.SubjectPrefix + "." + checkpointToken + ".*." + livePart + "." + checkpoint.FenceKey
	m, err := c.last(ctx, fences)
	if err != nil || m == nil {
		return err
	}
	return lacksError(c.cfg.Stream, append([]lack{{"it holds a checkpoint, which would be ignored", "undo what was changed"}}, lacks...))
}
