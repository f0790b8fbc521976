// Package chaos tests the connector as a whole: its real process is killed again
// and again while simulated providers add rows late and change them, and what
// the sink holds in the end is compared with what the providers had.
//
//	go test ./internal/chaos                    a few kills, as fits a run of all tests
//	make chaos KILLS=100                        a hundred for each sink
//	go test ./internal/chaos -chaos.seed 7 -v   the kills of one seed, timing aside
package chaos
