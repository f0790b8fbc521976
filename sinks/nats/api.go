package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
)

// Headers of an atomic batch (ADR-50 of NATS).
const (
	batchHeader         = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// stored is a message as the stream holds it.
type stored struct {
	subject string
	seq     uint64
	header  natsio.Header
	data    []byte // never nil
}

// content returns the data of a message, of which nats.go makes nil when it is empty.
func content(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// batch returns the id of the atomic batch the message came with, or "".
func (m *stored) batch() string { return m.header.Get(batchHeader) }

// torn reports whether the message is part of a batch, and not its end.
func (m *stored) torn() bool { return m.batch() != "" && m.header.Get(batchCommitHeader) == "" }

func (m *stored) deleted() bool { return m.header.Get(deletedHeader) == deletedValue }

// The requests of the JetStream API that are asked of the stream's leader:
// nats.go may read from a replica, which may lag behind.
type (
	getRequest struct {
		LastBySubject string `json:"last_by_subj"`
	}
	deleteRequest struct {
		Seq     uint64 `json:"seq"`
		NoErase bool   `json:"no_erase"`
	}
	purgeRequest struct {
		Filter string `json:"filter"`
		Seq    uint64 `json:"seq,omitempty"` // the first to keep; 0 keeps none
	}
)

type apiResponse struct {
	Error   *jetstream.APIError `json:"error"`
	Message struct {
		Subject string `json:"subject"`
		Seq     uint64 `json:"seq"`
		Header  []byte `json:"hdrs"`
		Data    []byte `json:"data"`
	} `json:"message"`
}

const (
	opGet    = "MSG.GET"
	opDelete = "MSG.DELETE"
	opPurge  = "PURGE"
)

func (c *client) apiSubject(op string) string { return "$JS.API.STREAM." + op + "." + c.cfg.Stream }

// api asks the stream's leader. The answer's error is a *jetstream.APIError.
func (c *client) api(ctx context.Context, op string, request any) (apiResponse, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return apiResponse{}, err
	}
	var response apiResponse
	ask := func(ctx context.Context) error {
		msg, err := c.conn.RequestWithContext(ctx, c.apiSubject(op), body)
		if err != nil {
			return err
		}
		return json.Unmarshal(msg.Data, &response)
	}
	if op == opDelete { // a second one would not find the message
		err = c.guardOnce(ctx, requestWait, ask)
	} else {
		err = c.guard(ctx, ask)
	}
	switch {
	case err != nil:
		return apiResponse{}, err
	case response.Error != nil:
		return apiResponse{}, response.Error
	}
	return response, nil
}

// tell asks without waiting for the answer.
func (c *client) tell(op string, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return c.conn.Publish(c.apiSubject(op), body)
}

// last returns the last message whose subject matches filter, nil when there
// is none.
func (c *client) last(ctx context.Context, filter string) (*stored, error) {
	r, err := c.api(ctx, opGet, getRequest{filter})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last message of %s in NATS stream %s: %w", filter, c.cfg.Stream, err)
	}
	m := &stored{subject: r.Message.Subject, seq: r.Message.Seq, header: natsio.Header{}, data: content(r.Message.Data)}
	if len(r.Message.Header) > 0 {
		if m.header, err = natsio.DecodeHeadersMsg(r.Message.Header); err != nil {
			return nil, fmt.Errorf("reading the last message of %s in NATS stream %s: %w", filter, c.cfg.Stream, err)
		}
	}
	return m, nil
}

// remove deletes one message.
func (c *client) remove(ctx context.Context, seq uint64) error {
	_, err := c.api(ctx, opDelete, deleteRequest{Seq: seq, NoErase: true})
	if err == nil {
		return nil
	}
	what := fmt.Errorf("deleting message %d of NATS stream %s: %w", seq, c.cfg.Stream, err)
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case !ok || api.ErrorCode != codeDeleteFailed:
		return what
	case c.cfg.URL.Embedded():
		return fault.Fatal(what, embeddedFullRemedy)
	}
	return fmt.Errorf("%w; when its disk is full, free space and restart the NATS server", what)
}

// purge deletes the messages of a subject before seq, all for 0.
func (c *client) purge(ctx context.Context, filter string, seq uint64) error {
	if _, err := c.api(ctx, opPurge, purgeRequest{Filter: filter, Seq: seq}); err != nil {
		return fmt.Errorf("deleting messages of %s in NATS stream %s: %w", filter, c.cfg.Stream, err)
	}
	return nil
}
