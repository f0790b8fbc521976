package schema

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Validator checks bodies against one schema file, formats included. It is safe
// for concurrent use.
type Validator struct{ schema *jsonschema.Schema }

// NewValidator compiles a schema, JSON Schema 2020-12.
func NewValidator(f File) (*Validator, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.JSON))
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", f.Name, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(f.ID, doc); err != nil {
		return nil, fmt.Errorf("adding %s: %w", f.Name, err)
	}
	s, err := c.Compile(f.ID)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", f.Name, err)
	}
	return &Validator{s}, nil
}

// Validate checks a JSON body. The error is an [*InvalidError], or that of a
// body which is not JSON; neither holds a value of the body.
func (v *Validator) Validate(body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return errors.New("the body is not one JSON value")
	}
	if err := v.schema.Validate(value); err != nil {
		return invalid(err)
	}
	return nil
}

// InvalidError says where a body is not as its schema says.
type InvalidError struct{ Faults []Fault }

// Fault is one place where a body breaks a rule.
type Fault struct {
	Path    string `json:"path"`           // JSON Pointer into the body; "" is the body
	Keyword string `json:"keyword"`        // of JSON Schema, such as "type"
	Want    string `json:"want,omitempty"` // what the schema asks for
}

// String returns the path, the keyword and what is asked for.
func (f Fault) String() string {
	s := f.Path + ": " + f.Keyword
	if f.Path == "" {
		s = "the whole: " + f.Keyword
	}
	if f.Want != "" {
		s += ", want " + f.Want
	}
	return s
}

// maxFaults bounds the faults that an error names.
const maxFaults = 3

// Error names the first faults.
func (e *InvalidError) Error() string {
	var list []string
	for _, f := range e.Faults[:min(len(e.Faults), maxFaults)] {
		list = append(list, f.String())
	}
	if more := len(e.Faults) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, "; ")
}

func invalid(err error) error {
	cause, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return err
	}
	e := &InvalidError{}
	e.add(cause)
	slices.SortStableFunc(e.Faults, func(a, b Fault) int { return strings.Compare(a.Path, b.Path) })
	e.Faults = slices.Compact(e.Faults)
	return e
}

// add adds the leaves of an error: the rules that were broken themselves.
func (e *InvalidError) add(cause *jsonschema.ValidationError) {
	for _, below := range cause.Causes {
		e.add(below)
	}
	if len(cause.Causes) > 0 {
		return
	}
	path := ""
	for _, name := range cause.InstanceLocation {
		path += "/" + pointer(name)
	}
	keyword := strings.Join(cause.ErrorKind.KeywordPath(), "/")
	if keyword == "" {
		keyword = "not" // also of the schema false
	}
	e.Faults = append(e.Faults, Fault{path, keyword, want(cause.ErrorKind)})
}

// want says in words what a rule of the schema asks for, and nothing of the value.
func want(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return strings.Join(k.Want, " or ")
	case *kind.Required:
		return strings.Join(k.Missing, ", ")
	case *kind.Enum:
		var all []string
		for _, v := range k.Want {
			all = append(all, fmt.Sprint(v))
		}
		return "one of " + strings.Join(all, ", ")
	case *kind.Const:
		return fmt.Sprint(k.Want)
	case *kind.Format:
		return k.Want
	case *kind.Pattern:
		return k.Want
	case *kind.MinLength:
		return fmt.Sprintf("at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("at most %d characters", k.Want)
	case *kind.Minimum:
		return "at least " + k.Want.RatString()
	case *kind.Maximum:
		return "at most " + k.Want.RatString()
	}
	return ""
}
