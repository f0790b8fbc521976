package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// console is the standard error of the process: what is written goes above
// the bars that stand there.
type console struct {
	file *os.File

	mu    sync.Mutex
	above io.Writer // nil while there are no bars
}

// Write implements [io.Writer].
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	above := c.above
	c.mu.Unlock()
	if above != nil {
		if n, err := above.Write(p); err == nil {
			return n, nil
		}
	}
	return c.file.Write(p)
}

// bars says that w writes above bars; nil says that they are gone.
func (c *console) bars(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.above = w
}

// terminal returns the console that w is, when people look at it.
func terminal(w io.Writer) (*console, bool) {
	c, ok := w.(*console)
	return c, ok && term.IsTerminal(int(c.file.Fd()))
}
