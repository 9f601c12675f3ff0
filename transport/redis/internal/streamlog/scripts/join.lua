#!lua
-- Makes a consumer in a partition, unless it is there.
-- KEYS meta log deferred letters; ARGV lease acks from value window
--   lease, acks: the consumer's fields of meta. from: latest, earliest, time (value is ms), offset (value)
-- Returns 1 if it was made.
local n, first = tonumber(redis.call('HGET', KEYS[1], 'n')), tonumber(redis.call('HGET', KEYS[1], 'first'))
if not n then return redis.error_reply('NOLOG the partition is not there') end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
local low = n + 1
if ARGV[3] == 'earliest' then
	low = first
elseif ARGV[3] == 'time' then
	local entry = redis.call('XRANGE', KEYS[2], ARGV[4], '+', 'COUNT', 1)[1]
	if entry then low = tonumber(entry[2][2]) end
elseif ARGV[3] == 'offset' then
	local want = tonumber(ARGV[4])
	if want > 0 and want < low then low = want end
end
redis.call('HSET', KEYS[3], '#', 0)
redis.call('XGROUP', 'CREATE', KEYS[4], '-', '$', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[4], '-')
redis.call('HSET', KEYS[1], ARGV[1], '0 - r 0 -', ARGV[2], string.format('L%.0f %s', low, ARGV[5]))
return 1
