package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"connector/internal/fault"
)

// Keys of a unit's state that belong to no stream: the fence, the last entry
// of every commit, and the manifest, the prefixes of all streams.
const (
	FenceKey    = "fence"
	ManifestKey = "manifest"
)

// maxOwner bounds, in bytes, what a fence keeps of its owner's name.
const maxOwner = 200

// Fence says who owns a unit and what was committed last.
type Fence struct {
	Owner    string    // who took the unit over last
	Term     uint64    // counts takeovers, from 1
	Number   uint64    // counts commits, takeovers included, from 1
	Manifest uint64    // digest of the manifest
	At       time.Time // when it was committed, by the owner's clock; UTC, to the second
}

func (f Fence) String() string {
	return fmt.Sprintf("%s (took over at term %d, last commit at %s)", f.Owner, f.Term, f.At.Format(time.RFC3339))
}

// Encode returns the value of [FenceKey].
func (f Fence) Encode() []byte {
	b := append([]byte{}, encodingVersion)
	b = binary.AppendUvarint(b, f.Term)
	b = binary.AppendUvarint(b, f.Number)
	b = binary.BigEndian.AppendUint64(b, f.Manifest)
	b = binary.AppendVarint(b, f.At.Unix())
	b = binary.AppendUvarint(b, uint64(len(f.Owner)))
	return seal(FenceKey, append(b, f.Owner...))
}

// DecodeFence reads what Encode wrote. An error is fatal.
func DecodeFence(value []byte) (Fence, error) {
	_, body, err := unseal(FenceKey, value)
	if err != nil {
		return Fence{}, damaged(FenceKey, err)
	}
	r := reader{b: body}
	f := Fence{Term: r.uvarint(), Number: r.uvarint(), Manifest: binary.BigEndian.Uint64(r.bytes(8)), At: time.Unix(r.varint(), 0).UTC()}
	f.Owner = string(r.bytes(r.count(1)))
	if f.Term == 0 || f.Number < f.Term || len(f.Owner) > maxOwner {
		r.fail()
	}
	if err := r.end(); err != nil {
		return Fence{}, damaged(FenceKey, err)
	}
	return f, nil
}

// Unit is what the owner of a unit knows of it: the fence of the last commit
// and the manifest. A store that keeps a unit's state beside messages writes,
// with each commit, what [Unit.Commit] returns. It is not safe for concurrent use.
type Unit struct {
	owner   string
	fence   Fence // of the last durable commit
	streams map[string]bool

	next        Fence // of the commit under way
	nextStreams map[string]bool
}

// NewUnit returns a unit without state, which owner takes over.
func NewUnit(owner string) *Unit {
	return &Unit{owner: owner[:min(len(owner), maxOwner)], fence: Fence{Manifest: digest(nil)}, streams: map[string]bool{}}
}

// TakeUnit returns the unit whose last durable fence is given, for a takeover by
// owner, Commit(nil): nothing else, because it does not know the manifest. An
// error is fatal.
func TakeUnit(owner string, fence []byte) (*Unit, error) {
	u := NewUnit(owner)
	var err error
	u.fence, err = DecodeFence(fence)
	return u, err
}

// LoadUnit returns the unit that the durable state describes, to be taken over
// by owner: value returns the value of a key, nil when there is none. A state
// without a fence, or one that lacks a stream of the manifest, is a fatal
// error: it is never read as a new unit.
func LoadUnit(owner string, value func(key string) []byte) (*Unit, error) {
	u := NewUnit(owner)
	content := value(FenceKey)
	if content == nil {
		return nil, damaged(FenceKey, errMissing)
	}
	var err error
	if u.fence, err = DecodeFence(content); err != nil {
		return nil, err
	}
	if u.streams, err = decodeManifest(value(ManifestKey)); err != nil {
		return nil, damaged(ManifestKey, err)
	}
	if digest(u.streams) != u.fence.Manifest {
		return nil, damaged(ManifestKey, errOther)
	}
	for prefix := range u.streams {
		if value(prefix+headName) == nil {
			return nil, damaged(prefix+headName, errMissing)
		}
	}
	return u, nil
}

// Fence returns the fence of the last durable commit, with Term 0 before the
// first takeover.
func (u *Unit) Fence() Fence { return u.fence }

// Owner returns who takes the unit over.
func (u *Unit) Owner() string { return u.owner }

// Owns reports whether the last durable commit is this owner's.
func (u *Unit) Owns() bool { return u.fence.Term > 0 && u.fence.Owner == u.owner }

// Commit returns the entries to write for a change of the state, the fence
// last; for nil it is the takeover, or says that the owner is alive. It may be
// called again before [Unit.Committed].
func (u *Unit) Commit(state []Entry, now time.Time) []Entry {
	u.next = Fence{Owner: u.owner, Term: u.fence.Term, Number: u.fence.Number + 1, Manifest: u.fence.Manifest, At: now.UTC().Truncate(time.Second)}
	u.nextStreams = u.streams
	entries := slices.Clone(state)
	if added := u.added(state); len(added) > 0 {
		u.nextStreams = maps.Clone(u.streams)
		for _, prefix := range added {
			u.nextStreams[prefix] = true
		}
		u.next.Manifest = digest(u.nextStreams)
		entries = append(entries, Entry{Key: ManifestKey, Value: encodeManifest(u.nextStreams)})
	}
	if !u.Owns() {
		u.next.Term++
	}
	return append(entries, Entry{Key: FenceKey, Value: u.next.Encode()})
}

// Next returns the fence of the commit under way.
func (u *Unit) Next() Fence { return u.next }

// Committed says that what Commit returned last is durable.
func (u *Unit) Committed() { u.fence, u.streams = u.next, u.nextStreams }

// added returns the prefixes of streams that state has and the manifest lacks.
func (u *Unit) added(state []Entry) []string {
	var list []string
	for _, e := range state {
		if prefix, ok := strings.CutSuffix(e.Key, "/"+headName); ok && e.Value != nil && !u.streams[prefix+"/"] {
			list = append(list, prefix+"/")
		}
	}
	return list
}

func digest(streams map[string]bool) uint64 {
	h := fnv.New64a()
	for _, s := range slices.Sorted(maps.Keys(streams)) {
		_, _ = h.Write(append([]byte(s), 0)) // never fails
	}
	return h.Sum64()
}

func encodeManifest(streams map[string]bool) []byte {
	b := append([]byte{}, encodingVersion)
	b = binary.AppendUvarint(b, uint64(len(streams)))
	for _, s := range slices.Sorted(maps.Keys(streams)) {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return seal(ManifestKey, b)
}

// decodeManifest reads a manifest; none is one without streams.
func decodeManifest(value []byte) (map[string]bool, error) {
	streams := map[string]bool{}
	if value == nil {
		return streams, nil
	}
	_, body, err := unseal(ManifestKey, value)
	if err != nil {
		return nil, err
	}
	r := reader{b: body}
	for range r.count(1) {
		streams[string(r.bytes(r.count(1)))] = true
	}
	return streams, r.end()
}

// ErrNoUnit says that a sink holds events, or did, and no state says what was published.
var ErrNoUnit = errors.New("there is no checkpoint")

// NoUnit is the fatal error for a sink, named by where, that holds events
// without a checkpoint: reading on would publish everything again.
func NoUnit(where string) error { return noUnit(where + " holds events") }

// Emptied is the same for a sink that held messages, a checkpoint perhaps among
// them, which were all deleted.
func Emptied(where string) error { return noUnit("all that " + where + " held was deleted") }

func noUnit(what string) error {
	return fault.Fatal(fmt.Errorf("%s, but %w of what was published", what, ErrNoUnit),
		`restore it from a backup, or name a new place for the events; "connector checkpoint create" begins a new one, and every row from CONNECTOR_START on is published again`)
}
