package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// cut says what of a body an older version does not have: the properties whose
// x-since is a later version.
type cut struct {
	drop     bool            // whether the value is left out
	members  map[string]*cut // of an object; those not here stay as they are
	elements *cut            // of an array; nil: they stay as they are
}

// newCut reads from the schema of a version what bodies of it have more than
// those of an older version; nil when that is nothing.
func newCut(newest File, version string) (*cut, error) {
	root, err := parse(newest)
	if err != nil {
		return nil, err
	}
	w := walker{root: root, version: version, reached: map[string]bool{}}
	c, err := w.schema(root, "", nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", newest.Name, err)
	}
	if at := w.missed(root, ""); at != "" {
		return nil, fmt.Errorf("%s: x-since at %s cannot be obeyed: a new property must be reached by properties, items and $ref alone", newest.Name, at)
	}
	return c, nil
}

func parse(f File) (map[string]any, error) {
	var root map[string]any
	if err := json.Unmarshal(f.JSON, &root); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", f.Name, err)
	}
	return root, nil
}

// walker collects the properties that are later than a version.
type walker struct {
	root    map[string]any
	version string
	reached map[string]bool // pointers of those properties
}

// schema returns the cut of what a subschema describes. path holds the
// pointers of the definitions on the way.
func (w walker) schema(s map[string]any, at string, path []string) (*cut, error) {
	c := new(cut)
	if ref, ok := s["$ref"].(string); ok {
		target, err := w.definition(ref, path)
		if err != nil {
			return nil, err
		}
		if c, err = w.schema(target, strings.TrimPrefix(ref, "#"), append(path, ref)); err != nil {
			return nil, err
		}
		if c == nil {
			c = new(cut)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		p, _ := p.(map[string]any) // true has nothing to tell
		below, err := w.property(p, at+"/properties/"+pointer(name), path)
		if err != nil {
			return nil, err
		}
		if below != nil {
			c.set(name, below)
		}
	}
	if items, ok := s["items"].(map[string]any); ok {
		var err error
		if c.elements, err = w.schema(items, at+"/items", path); err != nil {
			return nil, err
		}
	}
	if c.members == nil && c.elements == nil {
		return nil, nil
	}
	return c, nil
}

func (w walker) property(p map[string]any, at string, path []string) (*cut, error) {
	if since, ok := p[since].(string); ok && later(since, w.version) {
		w.reached[at] = true
		return &cut{drop: true}, nil
	}
	return w.schema(p, at, path)
}

func (c *cut) set(name string, below *cut) {
	if c.members == nil {
		c.members = map[string]*cut{}
	}
	c.members[name] = below
}

// since is the keyword that says with which version a property was added.
const since = "x-since"

// definition finds the target of a $ref, one level below $defs.
func (w walker) definition(ref string, path []string) (map[string]any, error) {
	for _, on := range path {
		if on == ref {
			return nil, fmt.Errorf("$ref %s leads in a circle, which x-since cannot follow", ref)
		}
	}
	definitions, _ := w.root["$defs"].(map[string]any)
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	target, found := definitions[name].(map[string]any)
	if !ok || !found {
		return nil, fmt.Errorf("$ref %s leads to nothing in $defs", ref)
	}
	return target, nil
}

// missed returns the pointer of a mark that was not reached, or "". What lies
// below a property that is left out goes with it.
func (w walker) missed(v any, at string) string {
	switch v := v.(type) {
	case map[string]any:
		if mark, ok := v[since].(string); ok && later(mark, w.version) {
			if w.reached[at] {
				return ""
			}
			return at
		}
		for name, below := range v {
			if found := w.missed(below, at+"/"+pointer(name)); found != "" && name != "examples" {
				return found
			}
		}
	case []any:
		for i, below := range v {
			if found := w.missed(below, at+"/"+strconv.Itoa(i)); found != "" {
				return found
			}
		}
	}
	return ""
}

// pointer writes a name as a token of a JSON Pointer.
func pointer(name string) string { return string(jsontext.Pointer("").AppendToken(name))[1:] }

// encode writes a value as a body without what c leaves out.
func (c *cut) encode(value any) ([]byte, error) {
	body, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return c.apply(body)
}

// apply returns a body without what c leaves out; what stays, stays byte for byte.
func (c *cut) apply(body []byte) ([]byte, error) {
	if c == nil {
		return body, nil
	}
	var out bytes.Buffer
	out.Grow(len(body))
	e := jsontext.NewEncoder(&out, jsontext.PreserveRawStrings(true))
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if err := c.copy(e, d); err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// copy copies the next value.
func (c *cut) copy(e *jsontext.Encoder, d *jsontext.Decoder) error {
	switch kind := d.PeekKind(); {
	case kind == '{' && c != nil && c.members != nil:
		return c.object(e, d)
	case kind == '[' && c != nil && c.elements != nil:
		return c.array(e, d)
	}
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	return e.WriteValue(v)
}

func (c *cut) object(e *jsontext.Encoder, d *jsontext.Decoder) error {
	if err := token(e, d); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		below := c.members[name.String()]
		if below != nil && below.drop {
			if err := d.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := e.WriteToken(name); err != nil {
			return err
		}
		if err := below.copy(e, d); err != nil {
			return err
		}
	}
	return token(e, d)
}

func (c *cut) array(e *jsontext.Encoder, d *jsontext.Decoder) error {
	if err := token(e, d); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if err := c.elements.copy(e, d); err != nil {
			return err
		}
	}
	return token(e, d)
}

// token copies the next token.
func token(e *jsontext.Encoder, d *jsontext.Decoder) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	return e.WriteToken(t)
}
