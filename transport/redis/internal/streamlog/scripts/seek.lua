#!lua
-- Moves a consumer in a partition: its lease ends, its deferrals are dropped.
-- KEYS meta log deferred; ARGV lease acks from value window channel
-- Returns 1; 0 if there is no such consumer.
local r = redis.call('HMGET', KEYS[1], 'n', 'first', ARGV[1])
if not r[1] then return redis.error_reply('NOLOG the partition is not there') end
if not r[3] then return 0 end
local n, first = tonumber(r[1]), tonumber(r[2])
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
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
	local kind = string.sub(field, 1, 1)
	if kind == 'x' or kind == 's' then redis.call('HDEL', KEYS[3], field) end
end
local fence, token = string.match(r[3], '^(%d+) (%S+)')
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. token .. ' s 0 -', ARGV[2], string.format('L%.0f %s', low, ARGV[5]))
redis.pcall('SPUBLISH', ARGV[6], 'lease')
return 1
