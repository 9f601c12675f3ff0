package usercode

import (
	"bytes"
	"slices"
	"strings"
)

// module is what the functions of this library begin with in a stack.
const module = "github.com/shardbus/shardbus/"

// libraries are the directories whose functions a user did not write. Examples are what a user
// writes.
var libraries = []string{"bus", "middleware", "supervisor", "transport", "codec", "router", "bustest", "internal"}

// frame is a call in a stack: the function's line, and that of its place.
type frame struct{ function, place string }

// UserFrames is what a log shows of a goroutine's stack, as runtime/debug.Stack returns it: the
// frames from the panic, if there is one, down to the user's last, without those of this library
// that called them. Where no frame is the user's, it is the whole stack.
func UserFrames(stack []byte) string {
	frames := parse(stack)
	if i := slices.IndexFunc(frames, func(f frame) bool { return strings.HasPrefix(f.function, "panic(") }); i >= 0 {
		frames = frames[i+1:]
		for len(frames) > 0 && strings.HasPrefix(frames[0].function, "runtime.") {
			frames = frames[1:]
		}
	}
	return users(frames, stack)
}

// RunningFrames is UserFrames of a goroutine that runs or waits, out of a dump: all its frames down
// to the user's last, also where it waits in a function deferred while it panics. state is what the
// dump says it does, as "chan receive, 2 minutes".
func RunningFrames(stack []byte) (state, frames string) {
	head, _, _ := bytes.Cut(stack, []byte("\n"))
	if _, s, ok := bytes.Cut(head, []byte("[")); ok {
		s, _, _ = bytes.Cut(s, []byte("]"))
		state = string(s)
	}
	return state, users(parse(stack), stack)
}

// Functions is the names of a stack's functions, the innermost first.
func Functions(stack []byte) (names []string) {
	for _, f := range parse(stack) {
		name := f.function
		if i := strings.LastIndexByte(name, '('); i > 0 && strings.HasSuffix(name, ")") {
			name = name[:i]
		}
		names = append(names, name)
	}
	return names
}

// users is the frames down to the user's last, or the whole stack where there is none.
func users(frames []frame, stack []byte) string {
	first := slices.IndexFunc(frames, func(f frame) bool { return !f.ours() && !f.runtime() })
	if first < 0 {
		return string(stack)
	}
	n := first
	for n < len(frames) && !frames[n].ours() {
		n++
	}
	var text strings.Builder
	for _, f := range frames[:n] {
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(f.function + "\n" + f.place)
	}
	return text.String()
}

// parse reads the frames of a stack, the innermost first.
func parse(stack []byte) (frames []frame) {
	lines := bytes.Split(bytes.TrimSpace(stack), []byte("\n"))
	for i := 0; i+1 < len(lines); i++ {
		if place := string(lines[i+1]); strings.HasPrefix(place, "\t") {
			frames = append(frames, frame{function: string(lines[i]), place: place})
			i++
		}
	}
	return frames
}

// runtime tells whether the frame is Go's, not anybody's.
func (f frame) runtime() bool {
	return strings.HasPrefix(f.function, "runtime.") || strings.HasPrefix(f.function, "runtime/debug.") ||
		strings.HasPrefix(f.function, "created by runtime")
}

// ours tells whether the frame is of this library.
func (f frame) ours() bool {
	name, ok := strings.CutPrefix(strings.TrimPrefix(f.function, "created by "), module)
	if !ok {
		return false
	}
	dir := name[:strings.LastIndexByte(name, '/')+1]
	pkg, _, _ := strings.Cut(name[len(dir):], ".")
	if strings.HasSuffix(pkg, "_test") {
		return false
	}
	top, _, _ := strings.Cut(dir+pkg, "/")
	return slices.Contains(libraries, top)
}
