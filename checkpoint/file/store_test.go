package file_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/checkpoint/storetest"
	"connector/internal/fault"
)

func TestConformance(t *testing.T) { synctest.Test(t, testConformance) }

func testConformance(t *testing.T) {
	dir := t.TempDir()
	err := storetest.Check(t.Context(), func() (checkpoint.Store, error) { return file.Open(dir, "u0") })
	if err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a unit held by another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s, err := file.Open(dir, "u0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			_, err = file.Open(dir, "u0")
			wantFatal(t, err, "is held by another process; stop the other connector")
		})
	})
	t.Run("a file that is no checkpoint", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "checkpoint-u0.db"), []byte(strings.Repeat("x", 1<<16)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := file.Open(dir, "u0")
		wantFatal(t, err, "is damaged")
	})
	t.Run("a directory that is a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := file.Open(path, "u0")
		wantFatal(t, err, "CONNECTOR_DATA_DIR")
	})
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "checkpoint")
	if err := file.Prepare(dir); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v in the folder, want it empty", list, err)
	}
	link := filepath.Join(t.TempDir(), "data")
	if err := os.Symlink(filepath.Join(t.TempDir(), "unmounted"), link); err != nil {
		t.Fatal(err)
	}
	wantFatal(t, file.Prepare(link), "CONNECTOR_DATA_DIR")
}

func TestView(t *testing.T) { synctest.Test(t, testView) }

func testView(t *testing.T) {
	dir := t.TempDir()
	if _, err := file.View(dir, "u0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v, want that it does not exist", err)
	}
	s, err := file.Open(dir, "u0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), []checkpoint.Entry{{Key: "a/s/h", Value: []byte("head")}}); err != nil {
		t.Fatal(err)
	}
	_, err = file.View(dir, "u0")
	wantFatal(t, err, "is held by another process")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := []checkpoint.Entry{{Key: "a/s/h", Value: []byte("head")}}
	if err := storetest.CheckReader(t.Context(), func() (checkpoint.Reader, error) { return file.View(dir, "u0") }, want); err != nil {
		t.Error(err)
	}
	for range 2 { // several may look at a time
		v, err := file.View(dir, "u0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = v.Close() }()
		if got, err := v.Get(t.Context(), "a/s/h"); string(got) != "head" || err != nil {
			t.Errorf("got %q, %v, want the value that was saved", got, err)
		}
		if err := v.Save(t.Context(), []checkpoint.Entry{{Key: "a/s/h"}}); err == nil {
			t.Error("saved what may only be looked at")
		}
	}
}

func wantFatal(t *testing.T, err error, want string) {
	t.Helper()
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a fatal error with %q", err, want)
	}
}
