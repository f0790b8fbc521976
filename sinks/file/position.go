package file

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"

	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
)

// position says how far the file is committed. It is saved with the state, as
// one: what lies in the file behind Length was never committed.
type position struct {
	Path     string `json:"path"`               // of the file, absolute
	Rotated  uint64 `json:"rotated"`            // number of the file that was put away last
	Rotating uint64 `json:"rotating,omitempty"` // number under which the file is being put away; 0: it is not
	Length   int64  `json:"length"`
	End      uint32 `json:"end"` // CRC-32C of what lies before Length, at most endBytes of it
}

const endBytes = 4 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the value of [checkpointfile.PositionKey].
func (p position) encode() []byte {
	b, _ := json.Marshal(p) // never fails
	return b
}

// decodePosition reads what encode wrote. An error is fatal.
func decodePosition(value []byte) (position, error) {
	var p position
	err := json.Unmarshal(value, &p)
	if err == nil && (p.Path == "" || p.Length < 0) {
		err = fmt.Errorf("path %q, length %d", p.Path, p.Length)
	}
	if err != nil {
		return position{}, fault.Fatal(fmt.Errorf("checkpoint entry %s is damaged: %w", checkpointfile.PositionKey, err), "restore the checkpoint from a backup")
	}
	return p, nil
}

// at returns p with the length of a file and the digest of its end.
func (p position) at(r io.ReaderAt, length int64) (position, error) {
	end := make([]byte, min(length, endBytes))
	if _, err := r.ReadAt(end, length-int64(len(end))); err != nil {
		return p, fmt.Errorf("reading the end of file %s: %w", p.Path, err)
	}
	p.Length, p.End = length, crc32.Checksum(end, castagnoli)
	return p, nil
}

// after returns p behind a batch that was appended to the file.
func (p position) after(r io.ReaderAt, batch []byte) (position, error) {
	if len(batch) < endBytes {
		return p.at(r, p.Length+int64(len(batch)))
	}
	p.Length += int64(len(batch))
	p.End = crc32.Checksum(batch[len(batch)-endBytes:], castagnoli)
	return p, nil
}
