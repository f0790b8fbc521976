package privacy

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"connector/sources"
)

// treatment is what is done with a value.
type treatment int

const (
	keep      treatment = iota
	plain               // what does not look like it belongs there
	note                // patterns in strings
	text                // the text rule
	recipient           // digits of numbers
	body                // personal values
	hide                // all of it
	hash
	drop
)

// maxLevels is how many levels of JSON within strings are read; what is deeper is hidden.
const maxLevels = 8

// rewriter writes a JSON value anew.
type rewriter struct {
	p       *Policy
	out     bytes.Buffer
	dec     jsontext.Decoder
	enc     jsontext.Encoder
	key     []byte // of the member at hand
	name    []byte // of the member at hand
	quoted  []byte // the name as written
	level   int    // how many strings the value lies within
	changed bool   // whether the value differs from the one given
}

// maxKept is the size of the largest buffer that is used again.
const maxKept = 1 << 20

// errMore says that there is something behind a value.
var errMore = errors.New("there is more than one value")

// rewrite returns raw with run applied. What needs no change is returned as it
// was given. An error says that raw is no JSON.
func (p *Policy) rewrite(raw []byte, level int, run func(*rewriter) error) (out []byte, changed bool, err error) {
	w, ok := p.rewriters.Get().(*rewriter)
	if !ok {
		w = &rewriter{p: p}
	}
	defer func() {
		if w.out.Cap() <= maxKept {
			p.rewriters.Put(w)
		}
	}()
	w.level, w.changed = level, false
	w.out.Reset()
	w.dec.Reset(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	w.enc.Reset(&w.out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := run(w); err != nil {
		return nil, false, err
	}
	if _, err := w.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, false, cmp.Or(err, errMore)
	}
	if !w.changed && utf8.Valid(raw) {
		return raw, false, nil
	}
	return bytes.TrimSuffix(bytes.Clone(w.out.Bytes()), []byte("\n")), true, nil
}

// value rewrites the next value, found at a depth of 0 when it is a whole body.
func (w *rewriter) value(t treatment, depth int) error {
	if t == keep {
		v, err := w.dec.ReadValue()
		if err != nil {
			return err
		}
		return w.enc.WriteValue(v)
	}
	if t == hide || t == hash {
		return w.replace(t)
	}
	kind := w.dec.PeekKind()
	if kind == jsontext.KindBeginObject {
		return w.object(t, depth)
	}
	if kind == jsontext.KindBeginArray {
		return w.array(t, depth)
	}
	v, err := w.dec.ReadValue()
	switch {
	case err != nil:
		return err
	case kind == jsontext.KindString:
		return w.string(v, t, depth)
	case kind == jsontext.KindNumber:
		return w.number(v, t)
	}
	return w.enc.WriteValue(v)
}

// replace writes a mask or a hash in place of the next value, unless that is
// null or empty.
func (w *rewriter) replace(t treatment) error {
	v, err := w.dec.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == jsontext.KindNull || string(v) == `""` {
		return w.enc.WriteValue(v)
	}
	with := Mask
	if t == hash {
		with = w.p.hashValue(scalar(v))
	}
	return w.put(v, with)
}

// scalar returns a string's value, and anything else as written.
func scalar(v jsontext.Value) string {
	if v.Kind() == jsontext.KindString {
		plain, _ := jsontext.AppendUnquote(nil, v) // invalid UTF-8 is mended
		return string(plain)
	}
	return string(v)
}

// put writes text in place of v.
func (w *rewriter) put(v jsontext.Value, text string) error {
	if v.Kind() != jsontext.KindString || scalar(v) != text {
		w.changed = true
	}
	return w.enc.WriteToken(jsontext.String(text))
}

func (w *rewriter) array(t treatment, depth int) error {
	if err := w.copyToken(); err != nil {
		return err
	}
	for w.dec.PeekKind() != jsontext.KindEndArray {
		if err := w.value(t, depth+1); err != nil {
			return err
		}
	}
	return w.copyToken()
}

func (w *rewriter) copyToken() error {
	tok, err := w.dec.ReadToken()
	if err != nil {
		return err
	}
	return w.enc.WriteToken(tok)
}

// object rewrites an object: members with personal keys, and others as t says.
func (w *rewriter) object(t treatment, depth int) error {
	return w.members(func(name []byte) treatment {
		w.key = appendKey(w.key[:0], name)
		if action, ok := w.p.rules.keys[string(w.key)]; ok {
			return action.treatment(sources.KindPlain)
		}
		switch {
		case isPersonal(w.key):
			return hide
		case t == body && texts[string(w.key)]:
			return text
		}
		return t
	}, depth)
}

// members rewrites an object, each member as treat says of its name.
func (w *rewriter) members(treat func(name []byte) treatment, depth int) error {
	if err := w.copyToken(); err != nil {
		return err
	}
	masked := 0
	for w.dec.PeekKind() != jsontext.KindEndObject {
		v, err := w.dec.ReadValue()
		if err != nil {
			return err
		}
		w.quoted = append(w.quoted[:0], v...)             // v ends with the next look at the decoder
		w.name, _ = jsontext.AppendUnquote(w.name[:0], v) // invalid UTF-8 is mended
		t := treat(w.name)
		if t == drop {
			w.changed = true
			if err := w.dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		name := jsontext.Value(w.quoted)
		if t != keep && MaskPatterns(string(w.name)) != string(w.name) {
			masked++ // names are to differ
			name, w.changed = jsontext.Value(`"`+Mask+strconv.Itoa(masked)+`"`), true
		}
		if err := w.enc.WriteValue(name); err != nil {
			return err
		}
		if err := w.value(t, depth+1); err != nil {
			return err
		}
	}
	return w.copyToken()
}
