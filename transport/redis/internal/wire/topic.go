package wire

import (
	"encoding/json"

	"github.com/shardbus/shardbus/transport"
)

// maxContentType is the length of the longest media type of a topic that is read.
const maxContentType = 200

// Topic is how a process knows a topic, in a [BaselineRequest] and in the answer to it.
type Topic struct {
	Name        string `json:"name"`
	Partitions  int    `json:"partitions,omitempty"`
	ContentType string `json:"contenttype,omitempty"`
	TypeName    string `json:"typename,omitempty"`
}

// TopicOf is t as it goes over the wire. A media type or type name that is too long is left out.
func TopicOf(t transport.Topic) Topic {
	w := Topic{Name: t.Name, Partitions: t.Partitions, ContentType: t.ContentType, TypeName: t.TypeName}
	if len(w.ContentType) > maxContentType {
		w.ContentType = ""
	}
	if len(w.TypeName) > transport.MaxTypeName {
		w.TypeName = ""
	}
	return w
}

// Topic is t as buses know it.
func (t Topic) Topic() transport.Topic {
	return transport.Topic{Name: t.Name, Partitions: t.Partitions, ContentType: t.ContentType, TypeName: t.TypeName}
}

// validTopics are the first of all, up to MaxBaselineChannels, that a bus could have sent.
func validTopics(all []Topic) []Topic {
	var valid []Topic
	for _, t := range all[:min(len(all), MaxBaselineChannels)] {
		if t.Topic().Validate() == nil && t == TopicOf(t.Topic()) {
			valid = append(valid, t)
		}
	}
	return valid
}

// fitting are the first of all, up to MaxBaselineChannels, that take no more than maxTopics bytes.
func fitting(all []Topic) []Topic {
	size := 0
	for i, t := range all[:min(len(all), MaxBaselineChannels)] {
		text, err := json.Marshal(t)
		if size += len(text) + 1; err != nil || size > maxTopics {
			return all[:i]
		}
	}
	return all[:min(len(all), MaxBaselineChannels)]
}
