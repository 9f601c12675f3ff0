#!lua flags=no-writes
-- Tells where a consumer stands in a partition.
-- KEYS meta log deferred letters; ARGV lease acks
-- Returns last and first offset, lease, acks, letters, and the refs that are deferred; nothing if there is no such consumer.
local r = redis.call('HMGET', KEYS[1], 'n', 'first', ARGV[1], ARGV[2])
if not r[1] then return redis.error_reply('NOLOG the partition is not there') end
if not r[3] then return {} end
local refs = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
	if string.sub(field, 1, 1) == 'x' then refs[#refs + 1] = string.sub(field, 2) end
end
return {r[1], r[2], r[3], r[4], redis.call('XLEN', KEYS[4]), refs}
