package submail

import "sync"

const (
	minRows    = 10       // the API takes 10 to 1000 rows a page
	maxPage    = 16 << 20 // bytes of the rows of a page, above which the next pages ask for fewer
	maxMinPage = 64 << 20 // bytes of the rows of a page that cannot ask for fewer
	goodPages  = 3        // pages in a row with room for twice their rows, after which the next ask for more
)

// pageSize is the number of rows a page: that of the configuration, fewer
// after pages with too many bytes. It is safe for concurrent use.
type pageSize struct {
	most int // of the configuration

	mu   sync.Mutex
	rows int
	good int // pages in a row with room for twice their rows
}

func newPageSize(most int) *pageSize { return &pageSize{most: most, rows: most} }

func (p *pageSize) get() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows
}

// tooLarge notes that a page of asked rows had too many bytes, and returns how
// many rows the next ones ask for.
func (p *pageSize) tooLarge(asked int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows, p.good = min(p.rows, max(minRows, asked/2)), 0
	return p.rows
}

// fits notes the bytes of a page that was not too large.
func (p *pageSize) fits(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good++
	if bytes > maxPage/2 {
		p.good = 0
	}
	if p.good >= goodPages {
		p.rows, p.good = min(p.most, 2*p.rows), 0
	}
}
