package wire

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/frame"
)

// sequenceDigits is the width of every uint64 in decimal. Numbers are padded to it, so that the order of the text is
// that of the numbers, and so that one can be written into a finished document.
const sequenceDigits = len(noSequence)

// noSequence stands where the number is yet to be put.
const noSequence = "00000000000000000000"

// An envelope's time lies in the years 1 to 9999. These are their first and last second, since 1970.
const (
	firstTime = -62135596800
	lastTime  = 253402300799
)

// Append appends the envelope's document to dst. uncertain, if not empty, is the attribute of that name. seqAt is the
// index in doc for [PutSequence], or -1 when the envelope has no publisher and therefore no sequence; the document
// holds env.Seq until then.
//
// Every envelope with a valid topic has a document: what CloudEvents cannot say as an attribute is escaped. env is
// only read.
func Append(dst []byte, env *transport.Envelope, uncertain string) (doc []byte, seqAt int) {
	seqAt = -1
	var more []byte
	doc = slices.Grow(dst, len(env.Payload)+len(env.Payload)/2+len(env.Topic)+len(env.ID)+len(env.Publisher)+240)
	doc = append(doc, `{"specversion":"1.0","id":`...)
	doc, more = appendRequired(doc, more, env.ID, moreID)
	doc = append(doc, `,"source":`...)
	doc, more = appendRequired(doc, more, env.Publisher, moreSource)
	doc = append(doc, `,"type":`...)
	doc = appendString(doc, env.Topic)
	if !env.Time.IsZero() && inYears(env.Time) {
		doc = append(doc, `,"time":"`...)
		doc = env.Time.UTC().AppendFormat(doc, time.RFC3339Nano)
		doc = append(doc, '"')
	}
	if env.Publisher != "" {
		doc = append(doc, `,"sequence":"`...)
		seqAt = len(doc)
		doc = append(doc, noSequence...)
		if env.Seq != 0 {
			PutSequence(doc, seqAt, env.Seq)
		}
		doc = append(doc, '"')
		if uncertain != "" {
			doc = append(doc, `,"uncertain":`...)
			doc = appendString(doc, uncertain)
		}
	}
	doc, more = appendOptional(doc, more, attrKey, env.Key, moreKey)
	doc, more = appendOptional(doc, more, attrContent, env.ContentType, moreContent)
	if len(env.TypeName) <= transport.MaxTypeName {
		doc, more = appendOptional(doc, more, attrTypeName, env.TypeName, moreType)
	}
	doc, more = appendHeader(doc, more, env.Headers)
	if len(more) > 0 {
		doc = append(doc, `,"shardbusmore":"`...)
		doc = append(doc, more...) // its alphabet needs no escapes
		doc = append(doc, '"')
	}
	doc = appendPayload(doc, env)
	return append(doc, '}'), seqAt
}

// PutSequence overwrites the number at the index that [Append] or [AppendCompact] returned.
func PutSequence(doc []byte, at int, seq uint64) {
	if frame.PutSequence(doc, at, seq) {
		return
	}
	digits := doc[at : at+sequenceDigits]
	copy(digits, noSequence)
	for i := sequenceDigits - 1; seq > 0; i-- {
		digits[i] = byte('0' + seq%10)
		seq /= 10
	}
}

// appendRequired writes an attribute that CloudEvents wants non-empty.
func appendRequired(doc, more []byte, value, moreName string) (doc2, more2 []byte) {
	if value != "" && value != placeholder && isText(value) {
		return appendString(doc, value), more
	}
	return append(doc, `"`+placeholder+`"`...), appendMore(more, moreName, value)
}

// appendOptional writes an attribute unless the value is empty.
func appendOptional(doc, more []byte, name, value, moreName string) (doc2, more2 []byte) {
	if value == "" {
		return doc, more
	}
	if !isText(value) {
		return doc, appendMore(more, moreName, value)
	}
	return appendAttribute(doc, name, value), more
}

func appendAttribute(doc []byte, name, value string) []byte {
	doc = append(doc, `,"`...)
	doc = append(doc, name...)
	doc = append(doc, `":`...)
	return appendString(doc, value)
}

// appendHeader writes the headers in the order of their names, each as an attribute of its own where it can be one.
func appendHeader(doc, more []byte, headers transport.Headers) (doc2, more2 []byte) {
	for name, value := range headers.All() {
		if isHeaderName(name) && isText(value) && value != "" {
			doc = appendAttribute(doc, name, value)
		} else {
			more = appendMore(more, url.QueryEscape(name), value)
		}
	}
	return doc, more
}

// appendMore appends name=value in the way of a query string. The name is escaped already.
func appendMore(more []byte, name, value string) []byte {
	if len(more) > 0 {
		more = append(more, '&')
	}
	more = append(more, name...)
	more = append(more, '=')
	return append(more, url.QueryEscape(value)...)
}

// appendPayload writes data if the payload is JSON that comes back byte for byte, else data_base64.
func appendPayload(doc []byte, env *transport.Envelope) []byte {
	if len(env.Payload) == 0 {
		return doc
	}
	if (env.ContentType == "" || isJSONType(env.ContentType)) && isJSON(env.Payload) {
		doc = append(doc, `,"data":`...)
		return append(doc, env.Payload...)
	}
	doc = append(doc, `,"data_base64":"`...)
	doc = base64.StdEncoding.AppendEncode(doc, env.Payload)
	return append(doc, '"')
}

// isJSONType reports whether a media type is JSON by the rule of the CloudEvents JSON format, section 3.1.
func isJSONType(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	_, subtype, found := strings.Cut(strings.ToLower(strings.TrimSpace(media)), "/")
	return found && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}

// isText reports whether s is a CloudEvents String: Unicode without control characters, surrogates and noncharacters.
func isText(s string) bool {
	if isPlain(s) {
		return true
	}
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
			return false
		}
		i += size
	}
	return true
}

// appendString writes text as a JSON string.
func appendString(doc []byte, text string) []byte {
	doc = append(doc, '"')
	if isPlain(text) {
		doc = append(doc, text...)
		return append(doc, '"')
	}
	from := 0
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' {
			doc = append(doc, text[from:i]...)
			doc = append(doc, '\\')
			from = i
		}
	}
	doc = append(doc, text[from:]...)
	return append(doc, '"')
}
