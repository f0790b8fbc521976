package filelock_test

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/filelock"
)

func TestAcquire(t *testing.T) { synctest.Test(t, testAcquire) }

func testAcquire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := filelock.Acquire(path); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("held: got %v, %v, want ErrHeld", second, err)
	}
	// One that is given back meanwhile is waited for.
	go func() { time.Sleep(300 * time.Millisecond); _ = first.Close() }()
	second, err := filelock.Acquire(path)
	if err != nil {
		t.Fatalf("given back: got %v, want the lock", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := filelock.Acquire(filepath.Join(path, "no", "folder")); err == nil || errors.Is(err, filelock.ErrHeld) {
		t.Errorf("no folder: got %v, want another error", err)
	}
}
