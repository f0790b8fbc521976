package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/checkpoint/storetest"
	"connector/internal/fault"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	err := storetest.Check(t.Context(), func() (checkpoint.Store, error) { return file.Open(dir, "u0") })
	if err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a unit held by another", func(t *testing.T) {
		dir := t.TempDir()
		s, err := file.Open(dir, "u0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		_, err = file.Open(dir, "u0")
		wantFatal(t, err, "is held by another process; stop the other connector")
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

func wantFatal(t *testing.T, err error, want string) {
	t.Helper()
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a fatal error with %q", err, want)
	}
}
