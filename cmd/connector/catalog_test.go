package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// part is a kind of thing that lies in folders of its own and has a catalog.
type part struct {
	folder  string
	methods []string // those of one type make a package one of these
	known   func(name string) bool
	line    string // of the catalog, for a folder
	kit     string // what its conformance test calls
}

func parts() []part {
	return []part{
		{
			"sources", []string{"Normalize", "Scan", "Streams"},
			func(name string) bool { _, ok := sourceKinds[name]; return ok },
			"%[1]q: source(%[1]s.Doc, %[1]s.NewConfig, %[1]s.New),", "sourcetest.Check(",
		},
		{
			"sinks", []string{"Guarantee"},
			func(name string) bool { _, ok := sinkKinds[name]; return ok },
			"%[1]q: sink(%[1]s.Doc, %[1]s.NewConfig, open…, view…, tail…),", "sinktest.Check(",
		},
	}
}

// TestCatalogIsComplete finds folders that nobody can use, or that nothing checks.
func TestCatalogIsComplete(t *testing.T) {
	want := map[string][]string{"sources": {"ekuaibao", "submail"}, "sinks": {"file", "kafka", "nats"}}
	for _, p := range parts() {
		found, faults := p.examine(t, filepath.Join(root, p.folder))
		for _, fault := range faults {
			t.Error(fault)
		}
		for _, name := range want[p.folder] { // what examine looks for is still what makes a source or a sink
			if !slices.Contains(found, name) {
				t.Errorf("%s: got folders %q, want %q among them", p.folder, found, name)
			}
		}
	}
}

// TestCatalogIsIncomplete wants the line that is missing.
func TestCatalogIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"parcel/source.go":     "package parcel\n\ntype S struct{}\n\nfunc (*S) Streams() {}\nfunc (*S) Scan() {}\nfunc (*S) Normalize() {}\n",
		"parcel/other_test.go": "package parcel\n",
		"scan/scan.go":         "package scan\n\ntype S struct{}\n\nfunc (*S) Scan() {}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, faults := parts()[0].examine(t, dir)
	want := []string{
		"cmd/connector/catalog.go lacks the import \"connector/sources/parcel\" and the line\n\t\"parcel\": source(parcel.Doc, parcel.NewConfig, parcel.New),",
		"sources/parcel has no test that calls sourcetest.Check(…)",
	}
	if !slices.Equal(found, []string{"parcel"}) || !slices.Equal(faults, want) {
		t.Errorf("got %q and %q, want parcel and %q", found, faults, want)
	}
}

// examine lists the folders in dir that hold a part, and what is wrong with them.
func (p part) examine(t *testing.T, dir string) (found, faults []string) {
	t.Helper()
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		name := f.Name()
		if !f.IsDir() || !p.isIn(t, filepath.Join(dir, name)) {
			continue
		}
		found = append(found, name)
		if !p.known(name) {
			line := fmt.Sprintf(p.line, name)
			faults = append(faults, fmt.Sprintf("cmd/connector/catalog.go lacks the import %q and the line\n\t%s", "connector/"+p.folder+"/"+name, line))
		}
		if !strings.Contains(tests(t, filepath.Join(dir, name)), p.kit) {
			faults = append(faults, fmt.Sprintf("%s/%s has no test that calls %s…)", p.folder, name, p.kit))
		}
	}
	return found, faults
}

// isIn reports whether a type of the package in dir has the methods of p.
func (p part) isIn(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string][]string{} // by type
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil && slices.Contains(p.methods, f.Name.Name) {
				name := receiver(f.Recv.List[0].Type)
				methods[name] = append(methods[name], f.Name.Name)
			}
		}
	}
	for _, has := range methods {
		if len(has) == len(p.methods) {
			return true
		}
	}
	return false
}

// receiver returns the name of a receiver's type.
func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	name, _ := e.(*ast.Ident) // nil: of a generic type
	return name.String()
}

// tests returns the text of the tests in dir.
func tests(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
