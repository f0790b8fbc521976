// Package sources defines what the pipeline asks of a provider.
package sources

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"connector/schema"
)

// Span is a closed interval of provider time, [From, To]. Both ends lie on
// the stream's tick. A span with To before From is empty.
type Span struct{ From, To time.Time }

// Empty reports whether s contains no instant.
func (s Span) Empty() bool { return s.To.Before(s.From) }

// Contains reports whether t lies in s.
func (s Span) Contains(t time.Time) bool { return !t.Before(s.From) && !t.After(s.To) }

// String returns the interval in RFC 3339, UTC.
func (s Span) String() string {
	return "[" + s.From.UTC().Format(time.RFC3339Nano) + ", " + s.To.UTC().Format(time.RFC3339Nano) + "]"
}

// Stream is one query shape of an account.
type Stream struct {
	Name      string         // such as a messageType or "sms"; the stream of its events
	Filters   string         // digest of the filters in force, so that a changed filter inherits no coverage; empty without filters
	Tick      time.Duration  // resolution of the API's time parameters
	MaxWindow time.Duration  // longest span worth asking for in one scan
	Leaves    bool           // whether rows may disappear from the log; then the pipeline reports them as left
	Channel   schema.Channel // of the events of rows that left; the one that Normalize gives
	Fields    Fields         // what the rows hold; a field that is not named counts as a KindBody
}

// UnknownRank is the rank of a row that cannot be read far enough.
const UnknownRank = math.MinInt64

// HashID is how the id begins of a record whose row has none: the hex SHA-256 of
// the row follows. The pipeline replaces both before it keeps them.
const HashID = "sha256:"

// Record is one row as the API gave it.
type Record struct {
	ID       string    // the provider's id, or HashID and the hash of the row for one without; at most 512 bytes
	Created  time.Time // creation time, which never changes; zero when it cannot be read
	Print    string    // hash of the change-bearing, non-personal raw fields; each source documents which
	Rank     int64     // orders the versions of one record; a lower rank is an older version; UnknownRank when it cannot be read
	Terminal bool      // whether the provider will not change the row again
	Moves    bool      // whether Created is a time that changes with the row, for want of a better; it is never reported as left
	Raw      []byte    // the row as JSON, the consumer's to keep; only its beginning when Size is larger
	Size     int64     // length of the whole row in bytes
	SHA256   string    // hex, of the whole row; set only when Raw holds just its beginning
	Fault    error     // why the row can never become an event, marked by fault.Reject; nil for a good row
}

// Chunk is a bounded slice of the records of a scan.
type Chunk struct {
	Records []Record
	Proven  Span // the part of the window, from its beginning, proven complete once these records are committed; may be empty
}

// GapError says that a part of a window cannot be proven complete, although
// the provider answers. It begins where what is proven ends; the rows it did
// show were yielded.
type GapError struct {
	Span   Span
	Reason string
}

func (e *GapError) Error() string {
	return fmt.Sprintf("rows may be missing at %s: %s", e.Span, e.Reason)
}

// ErrNoCall says that a host does not have the call that a source makes.
var ErrNoCall = errors.New("the host does not have the call")

// Source reads one account of one provider. Its methods may be called from
// several goroutines. Errors are unmarked (transient) or carry a mark of
// package fault; no error holds a secret. When ctx ends they return promptly
// with its error.
type Source interface {
	// Streams lists the streams of the account, always the same.
	Streams() []Stream
	// Owner names whose records the account holds, such as a company or an
	// application, as far as is known yet; empty before that. It holds no secret.
	Owner() string
	// Now returns the provider's time, or a moment before it, never one after it.
	Now(ctx context.Context) (time.Time, error)
	// Scan reads every record of stream s whose time lies in window. Rows from
	// outside may be among them, the window's neighbouring ticks at least: the
	// ledger dedupes. Chunks arrive in an order that lets Proven grow; a scan
	// without error ends with Proven equal to window. An error, a *GapError
	// among them, is the last thing yielded: chunks before it stand.
	Scan(ctx context.Context, s Stream, window Span) iter.Seq2[Chunk, error]
	// Normalize turns a record of stream s into an event: all of it but ID,
	// Record.Revision and ObservedAt. An error is marked by fault.Reject.
	Normalize(s Stream, r Record) (schema.Event, error)
}
