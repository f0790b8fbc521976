package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zone names are valid on machines without a zone database

	"connector/internal/secret"
)

// The errors of Decode say what is accepted and never hold the value.

// ByteSize is a number of bytes.
type ByteSize int64

// Units of [ByteSize].
const (
	KiB ByteSize = 1 << (10 * (iota + 1))
	MiB
	GiB
)

var byteUnits = []struct {
	name string
	size ByteSize
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"", 1}}

// Decode reads a whole number of bytes, KiB, MiB or GiB.
func (b *ByteSize) Decode(value string) error {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(value, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > uint64(math.MaxInt64/unit.size) {
			break
		}
		*b = ByteSize(n) * unit.size
		return nil
	}
	return errors.New("use " + b.Accepts())
}

// String returns the size in the largest unit that divides it.
func (b ByteSize) String() string {
	for _, unit := range byteUnits {
		if b >= unit.size && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Accepts describes the values of the type.
func (ByteSize) Accepts() string { return "a size such as 4MiB, 256KiB or 4194304" }

// TimeZone is a zone of the IANA database, which the program carries.
type TimeZone struct{ *time.Location }

// Decode reads a zone's name; "Local" is refused because it depends on the machine.
func (z *TimeZone) Decode(value string) error {
	loc, err := time.LoadLocation(value)
	if err != nil || value == "Local" || value == "" {
		return errors.New("use " + z.Accepts())
	}
	z.Location = loc
	return nil
}

// Accepts describes the values of the type.
func (TimeZone) Accepts() string { return "an IANA time zone such as Asia/Shanghai or UTC" }

// Start is the time at which a new stream begins.
type Start struct {
	ago time.Duration
	at  time.Time // takes precedence when set
}

// Decode reads a duration or an RFC 3339 time.
func (s *Start) Decode(value string) error {
	if ago, err := time.ParseDuration(value); err == nil && ago >= 0 {
		*s = Start{ago: ago}
		return nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil || at.Unix() < 0 {
		return errors.New("use " + s.Accepts())
	}
	*s = Start{at: at}
	return nil
}

// Time returns the start for a program that begins at now.
func (s Start) Time(now time.Time) time.Time {
	if !s.at.IsZero() {
		return s.at
	}
	return now.Add(-s.ago)
}

// String returns the start as Decode reads it.
func (s Start) String() string {
	if !s.at.IsZero() {
		return s.at.Format(time.RFC3339Nano)
	}
	return text(s.ago)
}

// Accepts describes the values of the type.
func (Start) Accepts() string {
	return "a duration back from now such as 24h, or a time such as 2026-01-31T00:00:00Z"
}

// FileOrText is key material: given as the path of a file or, when it has
// several lines or holds "-----BEGIN", as the text itself. It prints as the
// path or masked.
type FileOrText struct {
	path string
	text secret.String
}

// Text returns the material given as text.
func Text(text string) FileOrText { return FileOrText{text: secret.New(text)} }

// Decode reads a path or text.
func (f *FileOrText) Decode(value string) error {
	if strings.Contains(value, "-----BEGIN") || strings.ContainsAny(value, "\r\n") {
		*f = Text(value)
		return nil
	}
	*f = FileOrText{path: value}
	return nil
}

// IsZero reports whether nothing was given.
func (f FileOrText) IsZero() bool { return f.path == "" && f.text.IsZero() }

// Bytes returns the material; it reads the file anew each time, so that a
// rotated one is seen. Errors do not hold the path.
func (f FileOrText) Bytes() ([]byte, error) {
	if f.path == "" {
		return []byte(f.text.Reveal()), nil
	}
	return readSmall(f.path)
}

// Certificates returns the certificates (PEM) that the material holds, nil when
// nothing was given.
func (f FileOrText) Certificates() (*x509.CertPool, error) {
	if f.IsZero() {
		return nil, nil
	}
	content, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("no PEM certificate in it")
	}
	return pool, nil
}

// String returns the path, or the mask of the text.
func (f FileOrText) String() string {
	if f.path != "" {
		return f.path
	}
	return f.text.String()
}

// Accepts describes the values of the type.
func (FileOrText) Accepts() string { return "the path of a file, or its text" }

// maxFile bounds what is read from a mounted file.
const maxFile = 1 << 20

// readSmall returns the content of a file of at most maxFile bytes. Its errors
// do not hold the path: it may be a secret that was given in place of one.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err := cmp.Or(err, file.Close()); err != nil {
		return nil, withoutPath(err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("the file is larger than %v", ByteSize(maxFile))
	}
	return content, nil
}

func withoutPath(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}
