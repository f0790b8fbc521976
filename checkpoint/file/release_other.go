//go:build !linux

package file

import bolt "go.etcd.io/bbolt"

// release does nothing where mapped pages cannot be given back.
func release(*bolt.DB) {}
