package apisim

import (
	"compress/gzip"
	"errors"
	"net/http"
	"strings"
)

// compressing returns h with its answers compressed as Gzip says. An answer that is aborted has no end in gzip either.
func (s *simulator) compressing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.Gzip.Load() || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		h.ServeHTTP(zipped{w, z}, r)
		_ = z.Close()
	})
}

// zipped compresses what is written to it.
type zipped struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (z zipped) Write(p []byte) (int, error) { return z.z.Write(p) }

// FlushError sends what was written so far.
func (z zipped) FlushError() error {
	return errors.Join(z.z.Flush(), http.NewResponseController(z.ResponseWriter).Flush())
}
