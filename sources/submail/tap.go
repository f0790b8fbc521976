package submail

import "bufio"

// tap hands bytes to the parser one at a time, never ahead, and keeps those of
// the element begun.
type tap struct {
	in   *bufio.Reader
	seen []byte
	max  int
}

// begin starts an element of at most limit bytes that begins with start.
func (t *tap) begin(start string, limit int) { t.seen, t.max = append(t.seen[:0], start...), limit }

// ReadByte returns errLarge once the element is larger than its limit.
func (t *tap) ReadByte() (byte, error) {
	if len(t.seen) >= t.max {
		return 0, errLarge
	}
	b, err := t.in.ReadByte()
	if err == nil {
		t.seen = append(t.seen, b)
	}
	return b, err
}

// Read is not used by the parser, which prefers ReadByte.
func (t *tap) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := t.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}
