package submail

import (
	"crypto/md5"  //nolint:gosec // the provider's signature scheme
	"crypto/sha1" //nolint:gosec // the provider's signature scheme
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sign adds the signature to p: the key itself, or a digest over all
// parameters at the provider's time now.
func (s *Source) sign(p map[string]string, now time.Time) {
	key := s.cfg.AppKey.Reveal()
	if s.cfg.SignType == SignNormal {
		p["signature"] = key
		return
	}
	p["sign_type"] = string(s.cfg.SignType)
	p["timestamp"] = strconv.FormatInt(now.Unix(), 10)
	p["signature"] = digest(s.cfg.SignType, s.cfg.AppID+key, p)
}

// digest is the signature of params: over name=value joined by &, sorted by
// name, raw UTF-8, between two times appid and key. signature and tag are not
// part of it.
func digest(kind SignType, frame string, params map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if name != "signature" && name != "tag" {
			pairs = append(pairs, name+"="+params[name])
		}
	}
	text := []byte(frame + strings.Join(pairs, "&") + frame)
	if kind == SignMD5 {
		sum := md5.Sum(text) //nolint:gosec // the provider's signature scheme
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(text) //nolint:gosec // the provider's signature scheme
	return hex.EncodeToString(sum[:])
}
