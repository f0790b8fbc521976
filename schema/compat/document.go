package compat

import (
	"fmt"
	"slices"
	"strings"
)

// document is a parsed schema.
type document struct{ root any }

// part is a value in a document and where it lies.
type part struct {
	value  any
	at     string
	absent bool
}

func (p part) below(name string, value any) part {
	return part{value: value, at: p.at + "/" + escape.Replace(name)}
}

var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1")
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
)

// node is a subschema: its keywords, those behind $ref included, each with the
// place where it is written.
type node struct {
	at    string
	parts map[string]part
}

// part returns a keyword, which may be absent.
func (n node) part(keyword string) part {
	if p, ok := n.parts[keyword]; ok {
		return p
	}
	return part{at: n.at + "/" + escape.Replace(keyword), absent: true}
}

// besideRef ends the name under which the second of two keywords is kept.
const besideRef = " beside $ref"

// restricts returns the keyword for which a value with a property that the schema does
// not describe may be invalid, or "".
func (n node) restricts(name string) string {
	for _, keyword := range slices.Concat(closing, choosing) {
		for _, key := range []string{keyword, keyword + besideRef} {
			was, ok := n.parts[key]
			if !ok {
				continue
			}
			if slices.Contains(closing, keyword) && was.value != true || slices.Contains(choosing, keyword) && holds(was.value, slices.Concat(closing, []string{name, "minProperties", "$ref"})...) {
				return keyword
			}
		}
	}
	return ""
}

// passesOn reports whether the schema says in words that the object holds more than it
// describes.
func (n node) passesOn() bool {
	return n.part("additionalProperties").value == true || n.part("additionalProperties"+besideRef).value == true
}

// holds reports whether one of some words is a name or a text in a value.
func holds(value any, words ...string) bool {
	switch v := value.(type) {
	case string:
		return slices.Contains(words, v)
	case []any:
		return slices.ContainsFunc(v, func(below any) bool { return holds(below, words...) })
	case map[string]any:
		for key, below := range v {
			if slices.Contains(words, key) || holds(below, words...) {
				return true
			}
		}
	}
	return false
}

// places lists where nodes lie.
func places(nodes []node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.at)
	}
	return strings.Join(all, " ")
}

// maxRefs bounds the references that lead from one to the next.
const maxRefs = 32

// node reads a subschema.
func (d document) node(p part) (node, error) { return d.follow(p, maxRefs) }

func (d document) follow(p part, refs int) (node, error) {
	n := node{p.at, map[string]part{}}
	var schema map[string]any
	switch v := p.value.(type) {
	case bool:
		if !v {
			n.parts["not"] = part{value: map[string]any{}, at: p.at}
		}
		return n, nil
	case map[string]any:
		schema = v
	default:
		return node{}, fmt.Errorf("%s: a schema must be an object, true or false", place(p.at))
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, err := d.resolve(ref, p.at)
		if err == nil && refs == 0 {
			err = fmt.Errorf("%s: $ref %s leads in a circle", place(p.at), ref)
		}
		if err != nil {
			return node{}, err
		}
		if n, err = d.follow(target, refs-1); err != nil {
			return node{}, err
		}
		n.at = p.at
	}
	n.overlay(p, schema)
	return n, nil
}

// overlay adds the keywords of a schema to those that its $ref leads to. Where both have
// one, both count: the nearer is kept under a name that is no keyword.
func (n node) overlay(p part, schema map[string]any) {
	for keyword, value := range schema {
		if keyword == "$ref" || p.at == "" && (keyword == "$id" || keyword == "$defs") {
			continue
		}
		key := keyword
		if _, twice := n.parts[keyword]; twice && kinds[keyword] != annotation {
			key = keyword + besideRef
		}
		n.parts[key] = p.below(keyword, value)
	}
}

// resolve finds what a $ref leads to.
func (d document) resolve(ref, from string) (part, error) {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return part{}, fmt.Errorf("%s: $ref %s does not begin with #/: only places of the same file are understood", place(from), ref)
	}
	p := part{value: d.root}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		name := unescape.Replace(token)
		object, _ := p.value.(map[string]any)
		value, ok := object[name]
		if !ok {
			return part{}, fmt.Errorf("%s: $ref %s leads nowhere", place(from), ref)
		}
		p = p.below(name, value)
	}
	return p, nil
}

func place(pointer string) string {
	if pointer == "" {
		return "the root"
	}
	return pointer
}

// same reports whether two values are equal JSON.
func same(a, b part) bool { return a.absent == b.absent && text(a.value) == text(b.value) }
