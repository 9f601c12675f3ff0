package codec_test

import (
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/codec"
)

// A codec is two functions and two names. This one adds a check to another's payload.
func ExampleCodec() {
	type reading struct{ Celsius float64 }
	var c codec.Codec = summed{codec.JSON}

	b, _ := c.Append(nil, &reading{21.5})
	fmt.Printf("%s: %s\n", c.Name(), b)

	var r reading
	fmt.Println(c.Decode(b, &r), r)
	b[len(b)-1] ^= 1
	fmt.Println(c.Decode(b, &r))
	// Output:
	// json+sum: {"Celsius":21.5}r
	// <nil> {21.5}
	// the sum is wrong
}

// summed ends each payload with the exclusive or of its bytes.
type summed struct{ codec.Codec }

func (c summed) Name() string      { return c.Codec.Name() + "+sum" }
func (summed) ContentType() string { return "application/octet-stream" }

func (c summed) Append(dst []byte, v any) ([]byte, error) {
	b, err := c.Codec.Append(dst, v)
	if err != nil {
		return dst, err
	}
	return append(b, sum(b[len(dst):])), nil
}

func (c summed) Decode(b []byte, v any) error {
	if len(b) == 0 || sum(b) != 0 {
		return errors.New("the sum is wrong")
	}
	return c.Codec.Decode(b[:len(b)-1], v)
}

func sum(b []byte) (s byte) {
	for _, x := range b {
		s ^= x
	}
	return s
}

func ExampleError() {
	var n int
	err := codec.JSON.Decode([]byte(`"many"`), &n)

	var e *codec.Error
	if errors.As(err, &e) {
		fmt.Println(e.Codec, e.Op, e.Type)
	}
	// Output:
	// json decode int
}

func ExampleJSON() {
	type flight struct{ Origin, Destination string }
	b, _ := codec.JSON.Append(nil, &flight{"HKG", "AMS"})
	fmt.Println(string(b))

	var f flight
	fmt.Println(codec.JSON.Decode(b, &f), f)
	fmt.Println(codec.JSON.Decode(nil, &f))
	// Output:
	// {"Origin":"HKG","Destination":"AMS"}
	// <nil> {HKG AMS}
	// codec json: decode codec_test.flight: empty payload
}

func ExampleRaw() {
	line := "free text from a foreign program"
	b, _ := codec.Raw.Append(nil, &line)
	fmt.Printf("%s\n", b)
	// Output:
	// free text from a foreign program
}
