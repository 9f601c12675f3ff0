#!lua
-- Makes the keys of a partition where they are missing.
-- KEYS log meta due ids staged; ARGV incarnation
-- Returns incarnation, last offset, first offset.
local function made(key, kind)
	local have = redis.call('TYPE', key)['ok']
	if have ~= 'none' and have ~= kind then error('WRONGTYPE ' .. key .. ' is a ' .. have .. ', not a ' .. kind) end
	return have == kind
end
local log, meta, due, ids = made(KEYS[1], 'stream'), made(KEYS[2], 'hash'), made(KEYS[3], 'zset'), made(KEYS[4], 'hash')
local staged = made(KEYS[5], 'stream')
if not meta then
	if log then return redis.error_reply('LOSTMETA the stream is there and its hash is not') end
	redis.call('HSET', KEYS[2], 'inc', ARGV[1], 'n', 0, 'id', '0-0', 'b', 0, 'first', 1)
end
local function empty(key)
	redis.call('XGROUP', 'CREATE', key, '-', '$', 'MKSTREAM')
	redis.call('XGROUP', 'DESTROY', key, '-')
end
if not log then empty(KEYS[1]) end
if not staged then empty(KEYS[5]) end
if not due then redis.call('ZADD', KEYS[3], '+inf', '~') end
if not ids then redis.call('HSET', KEYS[4], '#', 0) end
return redis.call('HMGET', KEYS[2], 'inc', 'n', 'first')
