package redis

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// A password is printed by nobody: not by fmt with any verb, not by encoding/json, and so not by
// log, slog and zap. What is printed of a struct with a password are the fields that are set.

// Format prints the fields that are set, for every verb of fmt, without the passwords. For
// functions and pointers it says only that they are set. It has no effect on a Config in an
// unexported field of a struct of yours: fmt calls no method there.
func (c Config) Format(s fmt.State, verb rune) { formatFields(s, verb, "redis.Config", fieldsOf(c)) }

// MarshalJSON writes what Format prints, for logs. No Config can be read from it.
func (c Config) MarshalJSON() ([]byte, error) { return marshalFields(fieldsOf(c)) }

// Format prints the fields that are set, as that of Config does.
func (s Sentinel) Format(state fmt.State, verb rune) {
	formatFields(state, verb, "redis.Sentinel", fieldsOf(s))
}

// MarshalJSON writes what Format prints.
func (s Sentinel) MarshalJSON() ([]byte, error) { return marshalFields(fieldsOf(s)) }

// Format prints the fields that are set, as that of Config does.
func (c Credentials) Format(s fmt.State, verb rune) {
	formatFields(s, verb, "redis.Credentials", fieldsOf(c))
}

// MarshalJSON writes what Format prints. Credentials that are read from JSON are read with their
// password as ever.
func (c Credentials) MarshalJSON() ([]byte, error) { return marshalFields(fieldsOf(c)) }

// Format prints the transport's kind and start addresses, for every verb of fmt, since its fields
// hold passwords.
func (t *Transport) Format(s fmt.State, verb rune) {
	if t == nil {
		_, _ = fmt.Fprint(s, "<nil>") // a fmt.State takes all
		return
	}
	formatFields(s, verb, "redis.Transport", []setting{{"Addrs", t.cfg.Addrs}, {"Sentinel", t.cfg.Sentinel}})
}

// setting is a field that is printed.
type setting struct {
	name  string
	value any
}

// fieldsOf returns the exported fields of a struct that are set.
func fieldsOf(v any) (fields []setting) {
	of := reflect.ValueOf(v)
	for i := range of.NumField() {
		name, value := of.Type().Field(i), of.Field(i)
		if !name.IsExported() || value.IsZero() {
			continue
		}
		f := setting{name: name.Name}
		switch kind := value.Kind(); {
		case name.Name == "Password":
			f.value = conn.Redacted
		case kind == reflect.Func || kind == reflect.Pointer:
			f.value = "set"
		default:
			f.value = value.Interface()
		}
		fields = append(fields, f)
	}
	return fields
}

func formatFields(s fmt.State, verb rune, name string, fields []setting) {
	var text strings.Builder
	if verb == 'v' && s.Flag('#') {
		text.WriteString(name)
	}
	text.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			text.WriteByte(' ')
		}
		fmt.Fprintf(&text, "%s:%+v", f.name, f.value)
	}
	text.WriteByte('}')
	_, _ = s.Write([]byte(text.String())) // a fmt.State takes all
}

func marshalFields(fields []setting) ([]byte, error) {
	object := make(map[string]any, len(fields))
	for _, f := range fields {
		if d, is := f.value.(fmt.Stringer); is && reflect.TypeOf(f.value).Kind() == reflect.Int64 {
			f.value = d.String() // a time.Duration
		}
		object[f.name] = f.value
	}
	return json.Marshal(object)
}
