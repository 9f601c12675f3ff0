package lint

import "regexp"

// wordsFile is this file: it names the words that no other may have.
const wordsFile = "internal/lint/vocabulary_words_test.go"

// meaninglessWords are words of which nobody in this field knows what they are to mean, in all their forms.
var meaninglessWords = regexp.MustCompile(`(?i)\b(` +
	`lots?|crews?|troupes?|couriers?|errands?|refuges?|strangers?|doz(?:e[sd]?|ing)|knock(?:s|ed|ing)?|` +
	`laggards?|scouts?|manned|rous(?:e[sd]?|ing)|attendants?|chores?|aloft|detours?|evacuat(?:e[sd]?|ing)|` +
	`rehom(?:e[sd]?|ing)|lulls?)\b`)

// renamed are the names that were replaced in a package and those below it, with what became of each.
var renamed = map[string]map[string]string{
	"bus": {
		// Public.
		"Parked": "Deferred", "MaxParked": "MaxDeferred", "MaxActive": "MaxActors", "Linger": "BatchLinger",
		"ActRetry": "ActionRetry", "ActSnooze": "ActionSnooze", "ActDeadLetter": "ActionDeadLetter", "ActDiscard": "ActionDiscard",
		"Metadata": "Headers",
		// Dispatch.
		"intake": "fanout", "ident": "keyInfo", "publishPlain": "tryFast", "publishLog": "fastShared", "publishLane": "fastKeyed",
		"enterLog": "fastBatch", "pick": "reserve", "takers": "candidates", "put": "append", "strangers": "foreignQueue",
		"laggard": "sweepCursor", "sweep": "reclaim", "extend": "grow", "producer": "caller",
		// Lanes.
		"crew": "runqueue", "runner": "Runner", "scout": "spinner", "manned": "hasWork", "poke": "signal", "rouse": "wake",
		"duties": "runPending", "turn": "retryTurn", "chore": "runTimer", "lot": "batchRun", "judgment": "disposition",
		"judge": "dispose", "parking": "retryQueue", "parkedKey": "retryKey", "park": "deferEvent", "lossy": "evictingMailbox",
		"gone": "removed", "ran": "lastTaken", "account": "recordLocked", "tally": "countLocked", "trouble": "incidents",
		"handover": "reassignment", "awaiting": "keyBlocked", "moves": "pendingMoves", "company": "actorSet",
		"troupe": "laneActors", "engage": "spawn", "attendant": "laneHook", "edge": "waitEdge", "allReach": "allReachable",
		"holders": "possibleOwners", "quiet": "idle", "tidy": "cleanup", "goWork": "goTracked", "cut": "abandonedAny",
		"member": "actorCell",
	},
	"internal/mailbox": {
		"Soil": "MarkDirty", "wipes": "clearAfterUse", "keeps": "hasPointers", "Turn": "Detach", "Rejoin": "Reattach",
		"Alone": "SetSoleReader", "Ahead": "Batch", "Rest": "Idle", "Settle": "MarkDone", "Seal": "StartSegment", "Put": "Append",
		"Log": "Shared",
	},
	"transport/redis": {
		// Publishing.
		"outbox": "sender", "call": "publishCall", "item": "pendingEvent", "pump": "tryWrite", "may": "shouldWrite",
		"drive": "writeBlocking", "aloft": "inFlight", "given": "abandoned", "giveUp": "abandonSeq", "detour": "redirect",
		"bounces": "redirectLoop", "rehome": "applyTopology", "evacuate": "moveAll", "refuge": "fallback", "refuges": "fallback",
		"standing": "healthcheck", "marks": "watermarks", "answers": "retransmit", "courier": "controlSender",
		"letter": "controlMessage", "link": "nodePeer", "errand": "proxyCommand", "doubt": "requestProbe", "pipe": "pipeline.Conn",
		"flight": "request", "launch": "enqueue", "land": "complete", "turn": "writeToken", "lull": "idleAfter",
		"doze": "readIdle", "knock": "handshake", "hangUp": "closeWith", "lane": "nodeQueue",
		// Receiving.
		"registry": "subscriptions", "users": "refs", "home": "confirmedOn", "asked": "pendingOn", "mute": "stop",
		"away": "unconfirmed", "nowhere": "unsubscribed", "copies": "replicaSubs", "entering": "subscribeQueue",
		"await": "subscribeCall", "waiter": "channelWaiter", "feed": "session", "happening": "pushEvent",
		"inbox": "receiveBuffer", "ears": "heartbeatEcho", "pulse": "heartbeat", "senses": "observation",
		"errDeaf": "errNotReceiving", "silence": "keepalive", "backlog": "lagWarning", "trouble": "connectErrors",
		"greeting": "baseline", "greet": "beginAtMark", "repairs": "nackClient", "ask": "sendNacks", "tell": "onSent",
		"listening": "controlChannels", "clock": "repairTicker",
		// The rest.
		"claims": "slotOwners", "asker": "poller", "logins": "reauther", "refusal": "explain", "verdict": "replyClass",
		"fine": "replyOK", "busyNode": "replyRetryable", "forbidden": "replyDenied", "broken": "connBroken",
		"survey": "inspection", "hide": "noteHidden", "deny": "noteDenied",
	},
	"transport/redis/internal/track":    {"entry": "seqState", "entryKind": "seqKind", "greet": "beginAtMark"},
	"transport/redis/internal/wire":     {},
	"transport/redis/internal/resp":     {},
	"transport/redis/internal/fallback": {},
	"bustest": {
		"hub": "memoryBroker", "link": "faultTransport", "ear": "faultSink", "book": "seqChecker", "page": "seqStream",
		"Patience": "WaitTimeout", "patience": "waitTimeout", "judge": "classify",
	},
	"bustest/transporttest": {"box": "recorder", "tally": "seqAudit", "crowd": "background", "patience": "waitTimeout"},
	"bustest/fakecluster": {
		"Lose": "DropReply", "Linger": "AwaitClients", "verdict": "afterReply", "patience": "waitTimeout",
	},
	"internal/faultlab": {
		"Contestant": "Client", "Team": "RunningClient", "Stage": "Lab", "Books": "History", "Audit": "Check",
		"auditor": "checker", "Verdict": "Result", "Script": "ProcessConfig", "Play": "RunProcess", "Role": "Driver",
		"Receipts": "Recorder", "Patience": "PublishTimeout", "judge": "checkOwed",
	},
	"internal/redistest": {"verdict": "requirement"},
	"internal/lint":      {"house": "layers", "room": "component", "bites": "wantFindings"},
	"middleware":         {"window": "dedupTable", "judge": "classify", "judgement": "failureClass"},
	"supervisor":         {"judge": "classify"},
}

// pendingWords are meaningless words that are still to be replaced, by directory.
var pendingWords = map[string][]string{
	"bus":             {"attendant", "chore", "crew", "laggard", "lot", "manned", "rouse", "scout", "stranger", "strangers", "troupe", "troupes"},
	"docs":            {"crew"},
	"transport/redis": {"aloft", "courier", "couriers", "detour", "detours", "errand", "errands", "refuge", "refuges", "rehome", "stranger", "strangers"},
}

// pending are names of renamed that are still to be replaced.
var pending = map[string][]string{
	"bus":              {"account", "allReach", "attendant", "awaiting", "chore", "company", "crew", "cut", "duties", "edge", "engage", "enterLog", "extend", "goWork", "gone", "handover", "holders", "ident", "intake", "judge", "judgment", "laggard", "lossy", "lot", "manned", "member", "moves", "park", "parkedKey", "parking", "pick", "poke", "producer", "publishLane", "publishLog", "publishPlain", "put", "quiet", "ran", "rouse", "runner", "strangers", "sweep", "takers", "tally", "tidy", "trouble", "troupe", "turn"},
	"internal/mailbox": {"Ahead", "Alone", "Log", "Put", "Rejoin", "Rest", "Seal", "Settle", "Soil", "Turn", "keeps", "wipes"},
	"transport/redis":  {"answers", "ask", "asked", "asker", "await", "away", "call", "clock", "feed", "giveUp", "home", "mute", "repairs", "silence", "standing", "tell", "turn"},
}

// pendingMeaning stands for types of one name that are still to be told apart.
const pendingMeaning = "to be told apart"

// sameMeaning are the types that the bus and the Redis transport both have under one name, with what it means in both.
var sameMeaning = map[string]string{
	"batch":   pendingMeaning,
	"outcome": pendingMeaning,
}
