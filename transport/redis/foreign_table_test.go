package redis_test

import (
	"strings"
	"time"
)

// foreignCase is a message of a foreign program, and what becomes of it on a topic of flights in JSON and on one of raw text.
type foreignCase struct {
	name    string
	message string

	// dead is a part of the reason for which it is a dead letter on both topics; empty: it is an event on the raw topic.
	dead string
	// json is the event on the topic of flights, or begins with "dead: ", followed by a part of the reason. Empty: as flight.
	json string
	// raw is the event on the raw topic. Empty: the data {"origin":"SFO","delay":7}.
	raw string

	bare        bool   // it is a bare payload, without ID and source
	id, source  string // none: it is not known
	key         string
	time        time.Time
	header      map[string]string
	unread      string // the optional attributes that can't be read
	contentType string
}

const (
	flightData      = `{"origin":"SFO","delay":7}`
	pipelineRequest = "SFO 7"
	noData          = "dead: no data"
	none            = "none"
)

// foreignDoc is a document whose members are those of a plain one, but for changes: a member of the same name replaces one,
// or takes it out if it is `name:` alone; any other is added.
func foreignDoc(changes ...string) string {
	members := []string{`"specversion":"1.0"`, `"id":"1"`, `"source":"/x"`, `"type":"t"`, `"data":` + flightData}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, ":")
		at := -1
		for i, m := range members {
			if strings.HasPrefix(m, name+":") {
				at = i
			}
		}
		switch {
		case at < 0:
			members = append(members, change)
		case value == "":
			members = append(members[:at], members[at+1:]...)
		default:
			members[at] = change
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// nested is an array in arrays.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var foreignCases = []foreignCase{
	// What is required.
	{name: "plain", message: foreignDoc()},
	{name: "spaced", message: " \n{ \"specversion\" : \"1.0\" , \"id\":\"1\",\"source\":\"/x\",\"type\":\"t\",\"data\": " + flightData + " } \r\n"},
	{name: "a byte order mark before it", message: "\ufeff" + foreignDoc()},
	{name: "a member's name in escapes", message: strings.Replace(foreignDoc(), `"specversion"`, `"specv\u0065rsion"`, 1)},
	{name: "no id", message: foreignDoc(`"id":`), dead: "without id", id: none},
	{name: "empty id", message: foreignDoc(`"id":""`), dead: "without id", id: none},
	{name: "null id", message: foreignDoc(`"id":null`), dead: "without id", id: none},
	{name: "no source", message: foreignDoc(`"source":`), dead: "without source", source: none},
	{name: "empty source", message: foreignDoc(`"source":""`), dead: "without source", source: none},
	{name: "no type", message: foreignDoc(`"type":`), dead: "without type"},
	{name: "empty type", message: foreignDoc(`"type":""`), dead: "without type"},
	{name: "nothing but a version", message: `{"specversion":"1.0"}`, dead: "without id, source, type", id: none},
	{name: "an id that is an object", message: foreignDoc(`"id":{"n":1}`), dead: "whose id can't be read", id: none},
	{name: "a source that is an array", message: foreignDoc(`"source":["/x"]`), dead: "whose source can't be read", source: none},
	{name: "half a surrogate pair in the id", message: foreignDoc(`"id":"\ud800"`), dead: "whose id can't be read", id: none},
	{name: "bytes in the source", message: foreignDoc(`"source":"/` + "\xff" + `"`), dead: "whose source can't be read", source: none},
	{name: "a number for an id", message: foreignDoc(`"id":42`), id: "42"},
	{name: "a boolean for a source", message: foreignDoc(`"source":true`), source: "true"},
	{name: "another case", message: strings.ReplaceAll(foreignDoc(), "specversion", "SpecVersion"), bare: true, raw: strings.ReplaceAll(foreignDoc(), "specversion", "SpecVersion"), json: " 0"},

	// Versions.
	{name: "version 0.3", message: foreignDoc(`"specversion":"0.3"`), dead: `version "0.3"`, id: none},
	{name: "version 2.0", message: foreignDoc(`"specversion":"2.0"`), dead: `version "2.0"`, id: none},
	{name: "version 1", message: foreignDoc(`"specversion":"1"`), dead: `version "1"`, id: none},
	{name: "version 1.", message: foreignDoc(`"specversion":"1."`), dead: `version "1."`, id: none},
	{name: "version 1.0.2", message: foreignDoc(`"specversion":"1.0.2"`), dead: `version "1.0.2"`, id: none},
	{name: "empty version", message: foreignDoc(`"specversion":""`), dead: `version ""`, id: none},
	{name: "null version", message: foreignDoc(`"specversion":null`), dead: `version ""`, id: none},
	{name: "a version that is an object", message: foreignDoc(`"specversion":{}`), dead: `version ""`, id: none},
	{name: "version 1.1", message: foreignDoc(`"specversion":"1.1"`)},
	{name: "version 1.12", message: foreignDoc(`"specversion":"1.12"`)},
	{name: "a version that is a number", message: foreignDoc(`"specversion":1.0`)},

	// Time.
	{name: "time", message: foreignDoc(`"time":"2026-03-01T12:00:00Z"`), time: noon},
	{name: "time in another zone", message: foreignDoc(`"time":"2026-03-01T17:30:00.000+05:30"`), time: noon},
	{name: "time with a lower-case t and z", message: foreignDoc(`"time":"2026-03-01t12:00:00z"`), time: noon},
	{name: "a leap second", message: foreignDoc(`"time":"2016-12-31T23:59:60Z"`), time: time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)},
	{name: "a leap second in another zone", message: foreignDoc(`"time":"2016-12-31T18:59:60.5-05:00"`), time: time.Date(2017, 1, 1, 0, 0, 0, 5e8, time.UTC)},
	{name: "time in picoseconds", message: foreignDoc(`"time":"2026-03-01T12:00:00.000000001999Z"`), time: noon.Add(1)},
	{name: "time of a zone nobody knows", message: foreignDoc(`"time":"2026-03-01T12:00:00-00:00"`), time: noon},
	{name: "time without a zone", message: foreignDoc(`"time":"2026-03-01T12:00:00"`), unread: "time"},
	{name: "empty time", message: foreignDoc(`"time":""`), unread: "time"},
	{name: "null time", message: foreignDoc(`"time":null`)},
	{name: "time that is a number", message: foreignDoc(`"time":1772366400`), unread: "time"},
	{name: "time that is an object", message: foreignDoc(`"time":{}`), unread: "time"},
	{name: "time with a space", message: foreignDoc(`"time":"2026-03-01 12:00:00Z"`), unread: "time"},
	{name: "time with a comma", message: foreignDoc(`"time":"2026-03-01T12:00:00,5Z"`), unread: "time"},
	{name: "time with an hour of one digit", message: foreignDoc(`"time":"2026-03-01T2:00:00Z"`), unread: "time"},
	{name: "time on no day", message: foreignDoc(`"time":"2026-02-29T12:00:00Z"`), unread: "time"},
	{name: "time at hour 24", message: foreignDoc(`"time":"2026-03-01T24:00:00Z"`), unread: "time"},
	{name: "time in a zone a day away", message: foreignDoc(`"time":"2026-03-01T12:00:00+24:00"`), unread: "time"},
	{name: "time in the year 10000 by its zone", message: foreignDoc(`"time":"9999-12-31T23:59:59-01:00"`), unread: "time"},
	{name: "time in the year 0", message: foreignDoc(`"time":"0000-06-01T00:00:00Z"`), unread: "time"},
	{name: "time in the year 0 by its zone", message: foreignDoc(`"time":"0001-01-01T00:00:00+00:01"`), unread: "time"},

	// Attributes of other types.
	{name: "key", message: foreignDoc(`"partitionkey":"SFO"`), key: "SFO"},
	{name: "key that is a number", message: foreignDoc(`"partitionkey":42`), key: "42"},
	{name: "key that is a negative number", message: foreignDoc(`"partitionkey":-7`), key: "-7"},
	{name: "key that is a boolean", message: foreignDoc(`"partitionkey":false`), key: "false"},
	{name: "key that is an array", message: foreignDoc(`"partitionkey":["a"]`), unread: "partitionkey"},
	{name: "key that is null", message: foreignDoc(`"partitionkey":null`)},
	{name: "key with half a surrogate pair", message: foreignDoc(`"partitionkey":"\udc00"`), unread: "partitionkey"},
	{name: "key that is no UTF-8", message: foreignDoc(`"partitionkey":"` + "\xc3" + `"`), unread: "partitionkey"},
	{name: "sequence that is a number", message: foreignDoc(`"sequence":3`), header: map[string]string{"sequence": "3"}},
	{name: "sequence that is a short string", message: foreignDoc(`"sequence":"3"`), header: map[string]string{"sequence": "3"}},
	{name: "sequence that is an object", message: foreignDoc(`"sequence":{}`), unread: "sequence"},
	{name: "media type that is a number", message: foreignDoc(`"datacontenttype":7`), contentType: "7"},
	{name: "media type that is an object", message: foreignDoc(`"datacontenttype":{}`), unread: "datacontenttype"},
	{name: "media type that is an object, of a string", message: foreignDoc(`"datacontenttype":{}`, `"data":"text"`), dead: "datacontenttype"},
	{name: "extensions", message: foreignDoc(`"n":12`, `"b":true`, `"s":"é"`, `"null":null`), header: map[string]string{"n": "12", "b": "true", "s": "é"}},
	{name: "an extension that is an object", message: foreignDoc(`"o":{"a":1}`, `"n":12`), header: map[string]string{"n": "12"}, unread: "another attribute"},
	{name: "an extension whose name is no text", message: foreignDoc(`"` + "\xff" + `":"x"`), unread: "another attribute"},
	{name: "an extension whose value is no text", message: foreignDoc(`"x":"` + "\xff" + `"`), unread: "another attribute"},
	{name: "several that can't be read", message: foreignDoc(`"time":"now"`, `"partitionkey":{}`, `"x":[]`), unread: "time, partitionkey, another attribute"},

	// A member twice.
	{name: "two ids", message: foreignDoc()[:len(foreignDoc())-1] + `,"id":"2"}`, dead: `two members "id"`, id: none},
	{name: "data twice", message: foreignDoc()[:len(foreignDoc())-1] + `,"data":{}}`, dead: `two members "data"`, id: none},
	{name: "an extension twice", message: foreignDoc(`"x":"1"`)[:len(foreignDoc(`"x":"1"`))-1] + `,"x":"2"}`, dead: `two members "x"`, id: none},

	// shardbusmore.
	{name: "more", message: foreignDoc(`"shardbusmore":"Content-Language=de+AT&:key=%00"`), key: "\x00", header: map[string]string{"Content-Language": "de AT"}},
	{name: "more whose names are compared before they are decoded", message: foreignDoc(`"shardbusmore":"%3Aid=2&%3Akey=k&a%2Bb=1+2%2B3"`), header: map[string]string{":id": "2", ":key": "k", "a+b": "1 2+3"}},
	{name: "more with a broken value", message: foreignDoc(`"shardbusmore":"a=%zz&b=2"`), header: map[string]string{"b": "2"}, unread: "shardbusmore"},
	{name: "more with a broken name", message: foreignDoc(`"shardbusmore":"%=1&b=2"`), header: map[string]string{"b": "2"}, unread: "shardbusmore"},
	{name: "more without a value", message: foreignDoc(`"shardbusmore":"a&b=2"`), header: map[string]string{"b": "2"}, unread: "shardbusmore"},
	{name: "more with a broken key", message: foreignDoc(`"shardbusmore":":key=%"`), unread: "partitionkey"},
	{name: "more with a broken id", message: foreignDoc(`"shardbusmore":":id=%"`), dead: "whose id, in shardbusmore", id: none},
	{name: "more with a broken source", message: foreignDoc(`"shardbusmore":":source=%g0"`), dead: "whose source, in shardbusmore", source: none},
	{name: "more that is an object", message: foreignDoc(`"shardbusmore":{}`), unread: "shardbusmore"},
	{name: "more that is an object and had the id", message: foreignDoc(`"id":"-"`, `"shardbusmore":{}`), dead: "holds its id or source", id: none},

	// Data.
	{name: "no data", message: foreignDoc(`"data":`), json: noData, raw: "nothing"},
	{name: "data that is null", message: foreignDoc(`"data":null`), json: "dead: null is no event", raw: "null"},
	{name: "data of another type", message: foreignDoc(`"data":[1]`), json: "dead: cannot unmarshal", raw: "[1]"},
	{name: "data that is a string of JSON", message: foreignDoc(`"data":"a\u00e9"`), json: "dead: cannot unmarshal", raw: `"a\u00e9"`},
	{name: "data that is text", message: foreignDoc(`"datacontenttype":"text/plain"`, `"data":"a\u00e9 \ud83d\ude00"`), json: "dead: invalid character", raw: "aé 😀", contentType: "text/plain"},
	{name: "data that is JSON in a string of another type", message: foreignDoc(`"datacontenttype":"text/x"`, `"data":"{\"origin\":\"SFO\",\"delay\":7}"`), contentType: "text/x"},
	{name: "data that is half a surrogate pair", message: foreignDoc(`"datacontenttype":"text/plain"`, `"data":"\udead"`), dead: "no Unicode text"},
	{name: "data that is no UTF-8", message: foreignDoc(`"data":{"origin":"` + "\xff" + `"}`), dead: "data is no UTF-8"},
	{name: "base64", message: foreignDoc(`"data":`, `"data_base64":"eyJvcmlnaW4iOiJTRk8iLCJkZWxheSI6N30="`)},
	{name: "base64 on several lines", message: foreignDoc(`"data":`, `"data_base64":"eyJvcmlnaW4iOiJT\r\nRk8iLCJkZWxheSI6N30="`)},
	{name: "base64 without padding", message: foreignDoc(`"data":`, `"data_base64":"eyJvcmlnaW4iOiJTRk8iLCJkZWxheSI6N30"`), dead: "data_base64 can't be read"},
	{name: "base64 in the alphabet of URLs", message: foreignDoc(`"data":`, `"data_base64":"-_-_"`), dead: "data_base64 can't be read"},
	{name: "base64 that is none", message: foreignDoc(`"data":`, `"data_base64":"*"`), dead: "data_base64 can't be read"},
	{name: "base64 that is a number", message: foreignDoc(`"data":`, `"data_base64":1234`), dead: "data_base64 can't be read"},
	{name: "base64 that is an array", message: foreignDoc(`"data":`, `"data_base64":[1,2]`), dead: "data_base64 can't be read"},
	{name: "empty base64", message: foreignDoc(`"data":`, `"data_base64":""`), json: noData, raw: "nothing"},
	{name: "both data", message: foreignDoc(`"data_base64":"AA=="`), dead: "both data and data_base64"},
	{name: "both data, one empty", message: foreignDoc(`"data_base64":""`), dead: "both data and data_base64"},
	{name: "both data, one null", message: foreignDoc(`"data_base64":null`)},
	{name: "both data, the other null", message: foreignDoc(`"data":null`, `"data_base64":"eyJvcmlnaW4iOiJTRk8iLCJkZWxheSI6N30="`)},

	// Broken and deep.
	{name: "data nested as deep as may be", message: foreignDoc(`"data":` + nested(513)), json: "dead: cannot unmarshal", raw: nested(513)},
	{name: "data nested too deep", message: foreignDoc(`"data":` + nested(514)), dead: "nested more than 512 deep"},
	{name: "data nested far too deep", message: foreignDoc(`"data":` + nested(20_000)), dead: "nested more than 512 deep"},
	{name: "the version behind what nests too deep", message: `{"data":` + nested(600) + `,"specv\u0065rsion":"1.0","id":"1","source":"/x","type":"t"}`, dead: "nested more than 512 deep"},
	{name: "an extension nested too deep", message: foreignDoc(`"x":` + nested(600)), dead: "nested more than 512 deep"},
	{name: "cut off", message: foreignDoc()[:80], dead: "broken JSON", id: none},
	{name: "broken before its version", message: `{"id":1x,"specversion":"1.0"}`, dead: "broken JSON", id: none},
	{name: "something behind it", message: foreignDoc() + "\x00", dead: "broken JSON", id: none},
	{name: "two documents", message: foreignDoc() + "\n" + foreignDoc(), dead: "broken JSON", id: none},
	{name: "a trailing comma", message: strings.TrimSuffix(foreignDoc(), "}") + ",}", dead: "broken JSON", id: none},
	{name: "a batch", message: "[" + foreignDoc() + "," + foreignDoc() + "]", dead: "a batch", id: none},
	{name: "a batch that is cut off", message: " [ " + foreignDoc()[:50], dead: "a batch", id: none},

	// Bare payloads.
	{name: "bare", message: flightData, bare: true},
	{name: "bare, spaced", message: " " + flightData + "\n", bare: true, raw: " " + flightData + "\n"},
	{name: "bare, with the attributes of an event but its version", message: `{"id":"1","source":"/x","type":"t","origin":"SFO","delay":7}`, bare: true, raw: `{"id":"1","source":"/x","type":"t","origin":"SFO","delay":7}`},
	{name: "bare, with a document inside", message: `{"origin":"SFO","delay":7,"of":` + foreignDoc() + `}`, bare: true, raw: `{"origin":"SFO","delay":7,"of":` + foreignDoc() + `}`},
	{name: "bare text", message: "SFO is late", bare: true, json: "dead: invalid character", raw: "SFO is late"},
	{name: "bare null", message: "null", bare: true, json: "dead: null is no event", raw: "null"},
	{name: "bare array", message: "[" + flightData + "]", bare: true, json: "dead: cannot unmarshal", raw: "[" + flightData + "]"},
	{name: "bare bytes", message: "\xff\x00", bare: true, json: "dead: invalid character", raw: "\xff\x00"},
	{name: "bare, nested too deep for a document", message: `{"origin":"SFO","delay":7,"x":` + nested(600) + `}`, bare: true, raw: `{"origin":"SFO","delay":7,"x":` + nested(600) + `}`},
	{name: "nothing", message: "", bare: true, json: noData, raw: "nothing"},

	// Compact messages.
	{name: "compact", message: "\xc5sb\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02/x\x011\x00\x00\x00" + flightData},
	{name: "compact, in the year 10000", message: "\xc5sb\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x80\x86\xa2\xff\xdf\x0e\x00\x02/x\x011\x00\x00\x00" + flightData, unread: "time"},
	{name: "compact, cut off", message: "\xc5sb\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02/x\x09", dead: "cut off", id: none},
	{name: "compact, with unknown flags", message: "\xc5sb\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x02/x\x011\x00\x00\x00" + flightData, dead: "unknown flags", id: none},
	{name: "compact, of a later version", message: "\xc5sb\x02" + flightData, dead: "another version", id: none},
}
