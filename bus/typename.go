package bus

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shardbus/shardbus/transport"
)

// anyType is the TypeName that is not compared.
const anyType = "-"

// typeName is the name that a topic's events go by, with TopicConfig.TypeName given.
func typeName(given string, t reflect.Type) string {
	switch given {
	case "":
		return typeNameOf(t)
	case anyType:
		return ""
	default:
		return given
	}
}

// typeNameOf is the default of TopicConfig.TypeName.
func typeNameOf(t reflect.Type) string {
	for t.Name() == "" && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == "" || t == reflect.TypeFor[json.RawMessage]() {
		return ""
	}
	name := bareName(t.Name())
	if len(name) > transport.MaxTypeName {
		h := fnv.New64a()
		h.Write([]byte(name)) // never fails
		end := fmt.Sprintf("#%016x", h.Sum64())
		closed := transport.MaxTypeName - len(end)
		for !utf8.RuneStart(name[closed]) {
			closed--
		}
		name = name[:closed] + end
	}
	return name
}

// bareName takes the package paths of a generic type's arguments out of its name: a type that
// moves to another package, or whose module has a new path, is still the same to others.
func bareName(name string) string {
	var bare strings.Builder
	for len(name) > 0 {
		end := strings.IndexAny(name, "[],")
		if end < 0 {
			end = len(name) - 1
		}
		word := name[:end+1]
		pointers := word[:len(word)-len(strings.TrimLeft(word, "*"))]
		bare.WriteString(pointers)
		bare.WriteString(word[max(len(pointers), strings.LastIndexByte(word, '.')+1):])
		name = name[end+1:]
	}
	return bare.String()
}

func validTypeName(name string) error {
	if len(name) > transport.MaxTypeName {
		return fmt.Errorf("%w: TypeName has %d bytes, at most %d are allowed", ErrInvalidConfig, len(name), transport.MaxTypeName)
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return fmt.Errorf("%w: TypeName is %q: it must be printable text", ErrInvalidConfig, name)
		}
	}
	return nil
}

// rejects says why env can't be an event of the topic; nil if it may be.
func (info *topicInfo) rejects(env *transport.Envelope) error {
	if env.TypeName == "" || info.typeName == "" || env.TypeName == info.typeName {
		return nil
	}
	return fmt.Errorf("%w: publisher %s says that it is %s, and the topic carries %s here; see TopicConfig.TypeName",
		ErrOtherType, env.Publisher, env.TypeName, info.typeName)
}
