// Package wire turns envelopes into CloudEvents 1.0 documents in the JSON format and back, see docs/wire.md. It is
// pure: no I/O, no clock. Encoding and decoding are written by hand because every event passes both.
package wire

// Attribute names, as CloudEvents and its extensions spell them.
const (
	attrSpec     = "specversion"
	attrID       = "id"
	attrSource   = "source"
	attrType     = "type"
	attrTime     = "time"
	attrSequence = "sequence"     // extension "Sequence"
	attrKey      = "partitionkey" // extension "Partitioning"
	attrContent  = "datacontenttype"
	attrData     = "data"
	attrBase64   = "data_base64"
	attrSchema   = "dataschema"
	attrSeqType  = "sequencetype"

	// attrUncertain lists sequence numbers whose publish failed: "6-7,12".
	attrUncertain = "uncertain"
	// attrTypeName is the publisher's name for the type of the event.
	attrTypeName = "shardbustype"
	// attrMore holds what no attribute can: see appendMore.
	attrMore = "shardbusmore"
)

const specVersion = "1.0"

// placeholder stands where an ID or a source is that no attribute can hold; the true one is in attrMore.
const placeholder = "-"

// Names in attrMore that are not headers. A colon never begins a header's name there: it would be escaped.
const (
	moreID      = ":id"
	moreSource  = ":source"
	moreKey     = ":key"
	moreContent = ":datacontenttype"
	moreType    = ":shardbustype"
)

// maxName is the length of the longest extension attribute that CloudEvents recommends.
const maxName = 20

// isHeaderName reports whether a header may be an attribute of its own.
func isHeaderName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return !isReserved(name)
}

// isReserved reports whether an attribute means something to us or to CloudEvents, and so is no header.
func isReserved(name string) bool {
	switch name {
	case attrSpec, attrID, attrSource, attrType, attrTime, attrSequence, attrKey, attrContent, attrData, attrBase64,
		attrSchema, attrSeqType, attrUncertain, attrTypeName, attrMore:
		return true
	}
	return false
}
