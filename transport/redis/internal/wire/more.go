package wire

import (
	"net/url"
	"strings"
)

// readMore resolves attrMore. A field that can't be read is left out, unless it is one that no event can do without.
func (d *document) readMore() {
	if d.unread&More != 0 {
		for _, required := range []*string{&d.env.ID, &d.env.Publisher} {
			if *required == placeholder {
				*required = ""
				d.wrong("whose %s, which holds its id or source, can't be read", attrMore)
			}
		}
	}
	for more := d.more; more != ""; {
		var field string
		field, more, _ = strings.Cut(more, "&")
		name, rawValue, found := strings.Cut(field, "=")
		value, err := url.QueryUnescape(rawValue)
		d.setMore(name, value, found && err == nil)
	}
}

// setMore takes in a field of attrMore, if it is readable. Its name is still escaped: so no header is taken for what is not.
func (d *document) setMore(name, value string, readable bool) {
	switch name {
	case moreID:
		if d.env.ID = value; !readable {
			d.wrong("whose id, in %s, can't be read", attrMore)
		}
	case moreSource:
		if d.env.Publisher = value; !readable {
			d.wrong("whose source, in %s, can't be read", attrMore)
		}
	case moreKey:
		if d.env.Key = value; !readable {
			d.unread |= Key
		}
	case moreContent:
		if d.env.ContentType = value; !readable {
			d.unread |= ContentType
		}
	case moreType:
		if !readable {
			d.unread |= TypeName
			return
		}
		d.typeName(value)
	default:
		name, err := url.QueryUnescape(name)
		if err != nil || !readable {
			d.unread |= More
			return
		}
		d.header(name, value)
	}
}
