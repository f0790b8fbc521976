package file

import (
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// release takes the file's pages, which bbolt maps, out of the memory of this
// process. They stay in the system's cache, where the next use finds them; as
// mapped pages they would count as the process's until memory runs short, and
// be as many as the file has. A system that refuses keeps them: what was read or
// saved stands all the same.
func release(db *bolt.DB) {
	_ = db.View(func(tx *bolt.Tx) error { // while it lasts, the file is not mapped elsewhere
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, db.Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
		return nil
	})
}
