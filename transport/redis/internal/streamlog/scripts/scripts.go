// Package scripts is the Lua that the log runs in servers. docs/wire.md prints the one that publishes.
// It is pure.
package scripts

import (
	"crypto/sha1" //nolint:gosec // the name that servers give a script
	_ "embed"
	"encoding/hex"
)

// Script is a script and the name that servers know it by.
type Script struct {
	Name, Body, SHA string
	// Writes: it may change something.
	Writes bool
}

func script(name, body string, writes bool) *Script {
	sum := sha1.Sum([]byte(body)) //nolint:gosec // see above
	return &Script{Name: name, Body: body, SHA: hex.EncodeToString(sum[:]), Writes: writes}
}

//go:embed declare.lua
var declare string

//go:embed publish.lua
var publish string

//go:embed move.lua
var move string

//go:embed cancel.lua
var cancel string

//go:embed trim.lua
var trim string

//go:embed join.lua
var join string

//go:embed take.lua
var take string

//go:embed renew.lua
var renew string

//go:embed fetch.lua
var fetch string

//go:embed commit.lua
var commit string

//go:embed begin.lua
var begin string

//go:embed seek.lua
var seek string

//go:embed settle.lua
var settle string

//go:embed positions.lua
var positions string

//go:embed locate.lua
var locate string

//go:embed moved.lua
var moved string

//go:embed members.lua
var members string

// The scripts. The first comment of each says what it does, with its keys, arguments and reply.
var (
	Declare   = script("declare", declare, true)
	Publish   = script("publish", publish, true)
	Move      = script("move", move, true)
	Cancel    = script("cancel", cancel, true)
	Trim      = script("trim", trim, true)
	Join      = script("join", join, true)
	Take      = script("take", take, true)
	Renew     = script("renew", renew, true)
	Fetch     = script("fetch", fetch, false)
	Commit    = script("commit", commit, true)
	Begin     = script("begin", begin, true)
	Seek      = script("seek", seek, true)
	Settle    = script("settle", settle, true)
	Positions = script("positions", positions, false)
	Locate    = script("locate", locate, false)
	Moved     = script("moved", moved, true)
	Members   = script("members", members, true)
)
