// Package compat compares two versions of a JSON Schema (2020-12) within one
// major.
//
// A topic holds documents of several minors at once, and consumers of several
// minors read it. So a change is compatible only if a reader of either
// version can read the documents of both: optional properties may be added to
// open objects, and texts for people may change. Anything else is breaking.
package compat

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Change is one difference between two versions of a schema.
type Change struct {
	Pointer  string `json:"pointer"` // JSON Pointer of what changed: in the old schema of what was removed, else in the new one
	Breaking bool   `json:"breaking"`
	Text     string `json:"text"` // what changed, and of a breaking change why that is one

	Added bool   `json:"-"` // whether it is a new property
	Since string `json:"-"` // x-since of the new property
}

// Compare lists all changes from one schema to another, in the order of the
// keywords. An error says that one of them cannot be read.
func Compare(old, new []byte) ([]Change, error) {
	o, err := parse(old)
	if err != nil {
		return nil, fmt.Errorf("old schema: %w", err)
	}
	n, err := parse(new)
	if err != nil {
		return nil, fmt.Errorf("new schema: %w", err)
	}
	c := comparer{old: o, new: n, seen: map[pair]bool{}}
	if err := c.schema(part{value: o.root}, part{value: n.root}, false, nil); err != nil {
		return nil, err
	}
	return c.changes, nil
}

// Compatible lists the breaking changes only: none means that the new version
// may be released as a minor after the old one.
func Compatible(old, new []byte) ([]Change, error) {
	changes, err := Compare(old, new)
	return slices.DeleteFunc(changes, func(c Change) bool { return !c.Breaking }), err
}

func parse(schema []byte) (document, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return document{}, fmt.Errorf("parsing JSON: %w", err)
	}
	return document{root}, nil
}

// comparer walks two schemas side by side.
type comparer struct {
	old, new document
	changes  []Change
	seen     map[pair]bool
}

// pair is a place in each schema; a recursive schema comes to the same again.
type pair struct {
	old, new string
	exact    bool
	around   string
}

// schema compares two subschemas. Below a keyword such as anyOf even a new
// property may change what is valid: exact is set, and it is refused. around are the
// old schemas that hold for the same value, because they list this one in allOf.
func (c *comparer) schema(old, new part, exact bool, around []node) error {
	at := pair{old.at, new.at, exact, places(around)}
	if c.seen[at] {
		return nil
	}
	c.seen[at] = true
	o, err := c.old.node(old)
	if err != nil {
		return fmt.Errorf("old schema: %w", err)
	}
	n, err := c.new.node(new)
	if err != nil {
		return fmt.Errorf("new schema: %w", err)
	}
	for _, keyword := range keywords(o, n) {
		if err := c.keyword(keyword, o, n, exact, around); err != nil {
			return err
		}
	}
	return nil
}

// keywords lists those of both nodes.
func keywords(o, n node) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(o.parts)), maps.Keys(n.parts))
	slices.Sort(names)
	return slices.Compact(names)
}

// keyword compares one keyword of two nodes.
func (c *comparer) keyword(name string, o, n node, exact bool, around []node) error {
	old, new := o.part(name), n.part(name)
	switch kinds[name] {
	case annotation:
		if !same(old, new) {
			c.add(Change{Pointer: new.at, Text: "text for people changed"})
		}
	case properties:
		return c.properties(o, n, exact, around)
	case required:
		c.required(o, n)
	case values:
		c.values(name, old, new)
	case one:
		return c.one(name, old, new, exact || name != "items" && name != "additionalProperties")
	case list:
		if name == "allOf" {
			return c.list(name, old, new, exact, append(slices.Clone(around), o))
		}
		return c.list(name, old, new, true, nil)
	case named:
		return c.named(name, old, new)
	case bound:
		if !same(old, new) {
			c.refuse(new, "%s %s: readers may rely on it", name, change(old, new))
		}
	default:
		switch {
		case !same(old, new):
			c.refuse(new, "%s %s: it is not understood whether readers can bear that", name, change(old, new))
		case holds(new.value, "$ref") && text(c.old.root) != text(c.new.root):
			c.refuse(new, "%s holds a $ref: it is not understood whether what that leads to changed", name)
		}
	}
	return nil
}

// add adds a change, unless several references lead to it.
func (c *comparer) add(change Change) {
	if !slices.Contains(c.changes, change) {
		c.changes = append(c.changes, change)
	}
}

func (c *comparer) refuse(at part, format string, args ...any) {
	c.add(Change{Pointer: at.at, Breaking: true, Text: fmt.Sprintf(format, args...)})
}
