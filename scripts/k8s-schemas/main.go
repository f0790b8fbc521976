// Command k8s-schemas turns the OpenAPI document of a Kubernetes release into one strict JSON Schema per kind,
// for kubeconform on a machine that cannot fetch published schemas. Strict means: a field the API server does not
// know is refused.
//
//	go run ./scripts/k8s-schemas SWAGGER_JSON OUT_DIR
//
// The files have kubeconform's names, OUT_DIR/<kind>-<group up to its first dot>-<version>.json in lower case, with
// no group for the core. Each holds every definition it refers to.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const refPrefix = "#/definitions/"

// object is a JSON object: a schema, or a set of them by name.
type object = map[string]any

type groupVersionKind struct{ Group, Version, Kind string }

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: k8s-schemas SWAGGER_JSON OUT_DIR")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "k8s-schemas:", err)
		os.Exit(1)
	}
}

func generate(swagger, out string) error {
	data, err := os.ReadFile(swagger)
	if err != nil {
		return fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	var doc struct{ Definitions object }
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("decoding %s: %w", swagger, err)
	}
	defs := doc.Definitions
	tighten(defs)
	for name, def := range defs {
		for _, gvk := range kinds(def) {
			if err := write(out, gvk, name, defs); err != nil {
				return fmt.Errorf("writing the schema of %s: %w", gvk.Kind, err)
			}
		}
	}
	return nil
}

// tighten refuses unknown fields in every definition and gives the two types that JSON may write as a number their
// real shape.
func tighten(defs object) {
	for name, def := range defs {
		schema, _ := def.(object)
		_, closed := schema["additionalProperties"]
		switch {
		case schema["format"] == "int-or-string":
			defs[name] = object{"type": []any{"string", "integer"}}
		case strings.HasSuffix(name, ".resource.Quantity"):
			defs[name] = object{"type": []any{"string", "number"}}
		case schema["properties"] != nil && !closed:
			schema["additionalProperties"] = false
		}
	}
}

// kinds lists what a definition is served as; none for a part of something else.
func kinds(def any) []groupVersionKind {
	schema, _ := def.(object)
	list, _ := schema["x-kubernetes-group-version-kind"].([]any)
	var out []groupVersionKind
	for _, item := range list {
		fields, _ := item.(object)
		group, _ := fields["group"].(string)
		version, _ := fields["version"].(string)
		kind, _ := fields["kind"].(string)
		out = append(out, groupVersionKind{Group: group, Version: version, Kind: kind})
	}
	return out
}

// write stores the schema of one kind with all definitions it reaches.
func write(dir string, gvk groupVersionKind, name string, defs object) error {
	reached := object{}
	collect(object{"$ref": refPrefix + name}, defs, reached)
	data, err := json.Marshal(object{"$ref": refPrefix + name, "definitions": reached})
	if err != nil {
		return err
	}
	group, _, _ := strings.Cut(gvk.Group, ".")
	if group != "" {
		group += "-"
	}
	file := strings.ToLower(gvk.Kind + "-" + group + gvk.Version + ".json")
	return os.WriteFile(filepath.Join(dir, file), data, 0o600)
}

// collect adds to reached every definition that schema refers to, directly or through others.
func collect(schema any, defs, reached object) {
	switch node := schema.(type) {
	case object:
		ref, _ := node["$ref"].(string)
		if name, ok := strings.CutPrefix(ref, refPrefix); ok && reached[name] == nil {
			reached[name] = defs[name]
			collect(defs[name], defs, reached)
		}
		for _, child := range node {
			collect(child, defs, reached)
		}
	case []any:
		for _, child := range node {
			collect(child, defs, reached)
		}
	}
}
