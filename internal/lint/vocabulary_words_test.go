package lint

import "regexp"

// wordsFile is this file: it names the words that no other may have.
const wordsFile = "internal/lint/vocabulary_words_test.go"

// meaninglessWords are words of which nobody in this field knows what they are to mean, in all their forms.
var meaninglessWords = regexp.MustCompile(`(?i)\b(` +
	`lots?|crews?|troupes?|couriers?|errands?|refuges?|strangers?|doz(?:e[sd]?|ing)|knock(?:s|ed|ing)?|` +
	`laggards?|scouts?|manned|rous(?:e[sd]?|ing)|attendants?|chores?|aloft|detours?|evacuat(?:e[sd]?|ing)|` +
	`rehom(?:e[sd]?|ing)|lulls?)\b`)

// renamed are the names that were replaced in a package and those below it, with what became of each. Names of functions'
// variables and parameters are free. With "type " before it a name is kept away from types only.
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
	"bus/internal/mailbox": {
		"Soil": "MarkDirty", "wipes": "clearAfterUse", "keeps": "hasPointers", "Turn": "Detach", "Rejoin": "Reattach",
		"Alone": "SetSoleReader", "Ahead": "Batch", "Rest": "Idle", "Settle": "MarkDone", "Seal": "StartSegment", "Put": "Append",
		"Log": "Shared",
	},
	// Words that say something elsewhere are kept away from types here, and from all names in the packages that had them.
	"transport/redis": {
		// Publishing.
		"outbox": "sender", "type call": "publishCall", "type item": "pendingEvent", "pump": "tryWrite", "aloft": "inFlight",
		"detour": "redirect", "bounces": "redirectLoop", "rehome": "applyTopology", "evacuate": "moveAll", "refuge": "fallback",
		"refuges": "fallback", "type standing": "healthcheck", "marks": "watermarks", "type answers": "retransmit",
		"courier": "controlSender", "letter": "controlMessage", "type link": "nodePeer", "errand": "proxyCommand",
		"type doubt": "requestProbe", "pipe": "pipeline.Conn", "flight": "request", "launch": "enqueue", "lull": "idleAfter",
		"doze": "readIdle", "knock": "handshake", "hangUp": "closeWith", "type lane": "nodeQueue",
		// Receiving.
		"registry": "subscriptions", "nowhere": "unsubscribed", "copies": "replicaSubs", "entering": "subscribeQueue",
		"type await": "subscribeCall", "waiter": "channelWaiter", "type feed": "session", "happening": "pushEvent",
		"type inbox": "receiveBuffer", "ears": "heartbeatEcho", "pulse": "heartbeat", "senses": "observation",
		"errDeaf": "errNotReceiving", "type silence": "keepalive", "type backlog": "lagWarning", "type trouble": "connectErrors",
		"greeting": "baseline", "greet": "baseline", "type repairs": "nackClient", "listening": "controlChannels",
		"type clock": "repairTicker",
		// The rest.
		"claims": "slotOwners", "type asker": "poller", "logins": "reauther", "refusal": "explain", "verdict": "replyClass",
		"busyNode": "replyRetryable", "forbidden": "replyDenied", "survey": "inspection",
	},
	"transport/redis/internal/publisher": {
		"call": "publishCall", "item": "pendingEvent", "may": "shouldWrite", "drive": "writeBlocking", "given": "abandoned",
		"giveUp": "abandonSeq", "standing": "healthcheck", "link": "nodePeer", "doubt": "requestProbe", "lane": "nodeQueue",
	},
	"transport/redis/internal/pipeline": {"turn": "writeToken", "land": "complete"},
	"transport/redis/internal/subscriber": {
		"users": "refs", "home": "confirmedOn", "mute": "stop", "away": "unconfirmed", "await": "subscribeCall", "feed": "session",
		"silence": "keepalive", "repairs": "nackClient", "tell": "onSent",
	},
	"transport/redis/internal/conn":   {"fine": "replyOK", "broken": "connBroken"},
	"transport/redis/internal/doctor": {"hide": "noteHidden", "deny": "noteDenied"},
	"transport/redis/internal/track":  {"entry": "seqState", "entryKind": "seqKind", "Ask": "CollectMissing"},
	"transport/redis/internal/wire": {
		"Ask": "Nack", "Hello": "BaselineRequest", "Asker": "SourceOf", "AskChannel": "NackChannel", "HelloChannel": "BaselineChannel",
	},
	"transport/redis/internal/fallback": {"Became": "SetNodes", "Says": "ReportFailing", "Doubted": "NeedsProbe"},
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

// sameMeaning are the types that the bus and the Redis transport both have under one name, with what it means in both.
var sameMeaning = map[string]string{
	"batch": "events that are published in one go",
	"lease": "a member's right to a partition, with what its holder keeps beside it",
}
