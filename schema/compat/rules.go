package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// kind is what a keyword holds, as far as the comparison cares.
type kind int

const (
	unknown    kind = iota
	annotation      // for people
	properties
	required
	values // a set of which every element counts
	one    // a schema
	list   // of schemas
	named  // schemas by name
	bound  // a value that restricts
)

// kinds lists the keywords that are understood.
var kinds = map[string]kind{
	"title": annotation, "description": annotation, "examples": annotation, "$comment": annotation,

	"properties": properties, "required": required, "type": values, "enum": values,

	"items": one, "additionalProperties": one, "unevaluatedProperties": one, "unevaluatedItems": one, "contains": one, "propertyNames": one,
	"not": one, "if": one, "then": one, "else": one,
	"allOf": list, "anyOf": list, "oneOf": list, "prefixItems": list,
	"patternProperties": named, "dependentSchemas": named,

	"const": bound, "pattern": bound, "format": bound, "minLength": bound, "maxLength": bound, "minimum": bound, "maximum": bound,
	"exclusiveMinimum": bound, "exclusiveMaximum": bound, "multipleOf": bound, "minItems": bound, "maxItems": bound, "uniqueItems": bound,
	"minProperties": bound, "maxProperties": bound, "dependentRequired": bound, "minContains": bound, "maxContains": bound,
	"contentEncoding": bound, "contentMediaType": bound, "default": bound, sinceKeyword: bound, "$schema": bound,
}

// sinceKeyword says, of a property, with which minor it was added.
const sinceKeyword = "x-since"

// properties compares the properties of two objects.
func (c *comparer) properties(o, n node, exact bool, around []node) error {
	old, new := o.part("properties"), n.part("properties")
	before, after := object(old), object(new)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := old.below(name, before[name])
		is, ok := after[name]
		if !ok {
			c.refuse(was, "property removed: readers may need it")
			continue
		}
		if err := c.schema(was, new.below(name, is), exact, nil); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			c.added(name, append(slices.Clone(around), o), new.below(name, after[name]), exact)
		}
	}
	return nil
}

// closing are the keywords by which an object may refuse a property that it does not describe.
var closing = []string{"additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames", "maxProperties"}

// choosing are the keywords by which an object may be valid or not for a property that it has.
var choosing = []string{"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"}

// added judges a property that the old object does not describe; old are the schemas
// that hold for the object, the one with the property last.
func (c *comparer) added(name string, old []node, p part, exact bool) {
	if exact {
		c.refuse(p, "property added below a keyword that chooses: other documents are valid then")
		return
	}
	for _, o := range old {
		if keyword := o.restricts(name); keyword != "" {
			c.refuse(p, "property added to an object that restricts other properties (%s): readers of the old version refuse it", keyword)
			return
		}
	}
	if slices.ContainsFunc(old, node.passesOn) {
		c.refuse(p, "property described in an object that passes on what it does not describe (additionalProperties is true): documents of the old version have it already, "+
			"and whoever writes the old version would leave it out all of a sudden; describe it in another object")
		return
	}
	if old[len(old)-1].part("properties").absent {
		c.refuse(p, "property added where none was described: documents of the old version may have another of this name")
		return
	}
	since, _ := object(p)[sinceKeyword].(string)
	c.add(Change{Pointer: p.at, Text: "optional property added", Added: true, Since: since})
}

// required compares the lists of required properties.
func (c *comparer) required(o, n node) {
	old, new := o.part("required"), n.part("required")
	before, after := elements(old), elements(new)
	was, is := object(o.part("properties")), object(n.part("properties"))
	for _, name := range before {
		_, had := was[unquote(name)]
		_, has := is[unquote(name)]
		if removed := had && !has; !removed && !slices.Contains(after, name) {
			c.refuse(new, "property %s is no longer required: readers may rely on it", name)
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			c.refuse(new, "property %s is required and was not: documents of the old version, in the same topic, lack it", name)
		}
	}
}

// values compares the elements of type or enum.
func (c *comparer) values(name string, old, new part) {
	before, after := elements(old), elements(new)
	if slices.Equal(before, after) {
		return
	}
	switch {
	case name == "type" || old.absent || new.absent:
		c.refuse(new, "%s %s: readers rely on it", name, change(old, new))
	default:
		c.refuse(new, "%s has no longer %s, has newly %s: the list is closed within a major", name, some(before, after), some(after, before))
	}
}

// one compares the schema that a keyword holds. Absent, it restricts nothing.
func (c *comparer) one(name string, old, new part, exact bool) error {
	if free(old) && free(new) {
		return nil
	}
	if name == "additionalProperties" || name == "unevaluatedProperties" {
		switch closed, closes := old.value == false, new.value == false; {
		case closed && closes:
			return nil
		case closes:
			c.refuse(new, "the object becomes closed: it refuses properties that were allowed")
			return nil
		case closed:
			c.refuse(new, "the object becomes open: readers of the old version refuse other properties")
			return nil
		}
	}
	if old.absent != new.absent {
		c.refuse(new, "%s %s: readers may rely on it", name, change(old, new))
		return nil
	}
	return c.schema(old, new, exact, nil)
}

// free reports whether a schema is absent or allows all.
func free(p part) bool {
	return p.absent || p.value == true
}

// list compares schemas by their position.
func (c *comparer) list(name string, old, new part, exact bool, around []node) error {
	before, _ := old.value.([]any)
	after, _ := new.value.([]any)
	if len(before) != len(after) || old.absent != new.absent {
		c.refuse(new, "%s has %d schemas and had %d: other documents are valid then", name, len(after), len(before))
		return nil
	}
	for i := range before {
		index := fmt.Sprint(i)
		if err := c.schema(old.below(index, before[i]), new.below(index, after[i]), exact, around); err != nil {
			return err
		}
	}
	return nil
}

// named compares schemas by their name.
func (c *comparer) named(name string, old, new part) error {
	before, after := object(old), object(new)
	if names := slices.Sorted(maps.Keys(after)); !slices.Equal(slices.Sorted(maps.Keys(before)), names) {
		c.refuse(new, "%s has other names: other documents are valid then", name)
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if err := c.schema(old.below(key, before[key]), new.below(key, after[key]), true, nil); err != nil {
			return err
		}
	}
	return nil
}

func object(p part) map[string]any {
	m, _ := p.value.(map[string]any)
	return m
}

// elements returns the elements of a list, or the only one, as JSON in order.
func elements(p part) []string {
	all, ok := p.value.([]any)
	if !ok && !p.absent {
		all = []any{p.value}
	}
	texts := make([]string, 0, len(all))
	for _, v := range all {
		texts = append(texts, text(v))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// some lists the elements of a that b lacks.
func some(a, b []string) string {
	var only []string
	for _, v := range a {
		if !slices.Contains(b, v) {
			only = append(only, v)
		}
	}
	if only == nil {
		return "none"
	}
	return strings.Join(only, ", ")
}

// change says in words how a value changed.
func change(old, new part) string {
	switch {
	case old.absent:
		return "is " + text(new.value) + " and was absent"
	case new.absent:
		return "was " + text(old.value) + " and is absent"
	}
	return "was " + text(old.value) + " and is " + text(new.value)
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // a value that was parsed always encodes
		return err.Error()
	}
	return string(b)
}

func unquote(quoted string) string {
	var s string
	_ = json.Unmarshal([]byte(quoted), &s) // what is no text names no property
	return s
}
