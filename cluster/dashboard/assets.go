package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed page
var files embed.FS

// kinds are the types of files, which do not depend on the host's tables.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// assets are the files of the page by their paths, that of the page itself being "".
var assets = sync.OnceValue(func() map[string]http.HandlerFunc {
	all := map[string]http.HandlerFunc{}
	page, _ := fs.Sub(files, "page")
	_ = fs.WalkDir(page, ".", func(name string, e fs.DirEntry, _ error) error {
		kind, shown := kinds[path.Ext(name)]
		if e.IsDir() || !shown {
			return nil
		}
		body, _ := fs.ReadFile(page, name) // it is in the program
		all[strings.TrimSuffix(name, "index.html")] = asset(kind, body)
		return nil
	})
	return all
})

// asset serves a file that browsers keep for as long as it is the same.
func asset(kind string, body []byte) http.HandlerFunc {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = z.Write(body) // into memory
	_ = z.Close()
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))[:20] + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		h.Set("Vary", "Accept-Encoding")
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		send := body
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			send = packed.Bytes()
		}
		if r.Method != http.MethodHead {
			_, _ = w.Write(send)
		}
	}
}
