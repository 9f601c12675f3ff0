#!lua
-- Removes an event that waits for its time.
-- KEYS meta due ids; ARGV id
-- Returns 1 if it waited.
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('NOLOG the partition is not there') end
local have = redis.call('HGET', KEYS[3], ARGV[1])
local w = have and string.match(have, '^0 0 (.*)$')
if not w then return 0 end
redis.call('HDEL', KEYS[3], w, ARGV[1])
redis.call('ZREM', KEYS[2], w)
return 1
