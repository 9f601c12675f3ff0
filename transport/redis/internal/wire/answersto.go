package wire

import "strconv"

// Reply says what an answer answers.
type Reply struct {
	Publisher string // who answers
	N         uint64 // the question's
	Channel   string // empty in the answer to a BaselineRequest
}

// AnswersTo returns what an answer answers, and reads no further than it has to: what nobody asked for need not be decoded.
// It is false if the answer does not say. That it is true says nothing of the rest.
func AnswersTo(msg string) (r Reply, ok bool) {
	hasN := false
	doc := scanner{text: msg}
	doc.members(func(name string) bool {
		switch name {
		case attrSource:
			r.Publisher, _, _ = doc.str()
			return true
		case attrData:
			data := scanner{text: msg, at: doc.at}
			data.members(func(name string) bool {
				switch {
				case name == "n":
					digits, _ := data.value()
					n, err := strconv.ParseUint(digits, 10, 64)
					r.N, hasN = n, err == nil
				case name == "channel" && data.isString():
					r.Channel, _, _ = data.str()
				default:
					data.value()
				}
				return !hasN || r.Channel == ""
			})
			if r.Publisher != "" { // else it stands behind the data
				return false
			}
		}
		doc.value()
		return true
	})
	return r, hasN && IsParty(r.Publisher)
}

// members calls yield for each member of an object, which must consume its value, until it returns false.
func (s *scanner) members(yield func(name string) bool) {
	if !s.take('{') {
		return
	}
	for {
		name, _, ok := s.str()
		if !ok || !s.take(':') || !yield(name) || s.at < 0 || !s.take(',') {
			return
		}
	}
}

// isString reports whether a string is next.
func (s *scanner) isString() bool { return s.at < len(s.text) && s.text[s.at] == '"' }
