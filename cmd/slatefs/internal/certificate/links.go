package certificate

import "slatefs/chain/evidence"

// MaxLinks bounds how many links a certificate carries: a page with more would be larger than a disk's picture of it is worth.
// Who verifies one with more asks for the exported log.
const MaxLinks = 1 << 13

// ReachLinks is how far links go back for the sake of anchors: as far as a page is no larger than the text of a few thousand records.
const ReachLinks = MaxLinks / 2

// add takes one more; false: that is too many.
func (l *Links) add(digest evidence.Hash) bool {
	l.Digests = append(l.Digests, digest[:]...)
	return len(l.Digests) <= MaxLinks*len(digest)
}

// LinksOf are the digests from a record of a log to its end; nil if there are too many, or the log has no such record.
func LinksOf(log []evidence.Entry, from uint64) *Links {
	for i, e := range log {
		if e.Seq != from || len(log)-i > MaxLinks {
			continue
		}
		l := &Links{After: evidence.Head{Seq: e.Seq - 1, Hash: e.Prev}}
		for _, e := range log[i:] {
			l.Digests = append(l.Digests, e.Digest[:]...)
		}
		return l
	}
	return nil
}
