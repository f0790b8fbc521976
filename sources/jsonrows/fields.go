package jsonrows

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode decodes a row that is an object into the struct dst, whose fields are
// of the types of this package or pointers to them, for which null is nil. Of
// a name given twice, the last value counts. Text that is not UTF-8 is mended
// with U+FFFD. Its error names the field, cut, and not the value.
func Decode(raw []byte, dst any) error {
	if kind := jsontext.Value(raw).Kind(); kind != jsontext.KindBeginObject {
		return fmt.Errorf("the row is a JSON %s, not an object", kind)
	}
	err := json.Unmarshal(raw, dst, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return err
	}
	reason := errShape
	if e, ok := errors.AsType[fieldError](err); ok {
		reason = e
	}
	return fmt.Errorf("field %.100q %w", semantic.JSONPointer.LastToken(), reason)
}

// fieldError is why a field cannot be decoded; it continues "field …".
type fieldError string

func (e fieldError) Error() string { return string(e) }

const (
	errShape  = fieldError("is of another type than documented")
	errText   = fieldError("is no text")
	errInt    = fieldError("is no integer of 64 bits")
	errNumber = fieldError("is no number of 64 bits")
	errBool   = fieldError("is neither true nor false")
	errAny    = fieldError("holds an object with a name given twice")
)

// Text is a JSON string, or another scalar as written.
type Text string

// UnmarshalJSON decodes a scalar.
func (t *Text) UnmarshalJSON(b []byte) error {
	switch jsontext.Value(b).Kind() {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return errText
	default:
		*t = Text(scalar(b))
		return nil
	}
}

// Trimmed returns the text without the spaces around it; "" for nil.
func (t *Text) Trimmed() string {
	if t == nil {
		return ""
	}
	return strings.TrimSpace(string(*t))
}

// Int is a JSON number or string that is an integer.
type Int int64

// UnmarshalJSON decodes a number or string.
func (i *Int) UnmarshalJSON(b []byte) error {
	text := strings.TrimSpace(scalar(b))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		*i = Int(n)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64) // such as 4.0 or 1e3
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return errInt
	}
	*i = Int(f)
	return nil
}

// Number is a JSON number, or a string that is one, of 64 bits.
type Number float64

// UnmarshalJSON decodes a number or string.
func (n *Number) UnmarshalJSON(b []byte) error {
	text := jsontext.Value(strings.TrimSpace(scalar(b)))
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || text.Kind() != jsontext.KindNumber || !text.IsValid() {
		return errNumber
	}
	*n = Number(f)
	return nil
}

// Bool is a JSON boolean, or a string or number that stands for one.
type Bool bool

// UnmarshalJSON decodes true, false, 1, 0 and these as strings.
func (v *Bool) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(strings.TrimSpace(scalar(b))) {
	case "true", "1":
		*v = true
	case "false", "0":
		*v = false
	default:
		return errBool
	}
	return nil
}

// WithoutNull removes the members that are null from m and returns it.
func WithoutNull(m map[string]*Any) map[string]*Any {
	maps.DeleteFunc(m, func(_ string, value *Any) bool { return value == nil })
	return m
}

// Any is any JSON value, on one line.
type Any jsontext.Value

// UnmarshalJSON takes the value as it is.
func (a *Any) UnmarshalJSON(b []byte) error {
	v := jsontext.Value(b).Clone()
	if err := v.Format(jsontext.AllowInvalidUTF8(true)); err != nil || !v.IsValid() {
		return errAny
	}
	*a = Any(v)
	return nil
}

// MarshalJSON encodes the value as it was taken.
func (a Any) MarshalJSON() ([]byte, error) { return a, nil }
