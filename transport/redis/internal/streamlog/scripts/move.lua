#!lua
-- Adds events whose time has come, and forgets IDs whose time is over.
-- KEYS log meta due ids; ARGV channel limit dedup
-- Returns how many events were added, and in how many ms it is to be called again; -1: there is nothing.
local log, meta, due, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local r = redis.call('HMGET', meta, 'n', 'id', 'b')
if not r[1] then return redis.error_reply('NOLOG the partition is not there') end
local n, id, bytes, dedup = tonumber(r[1]), r[2], tonumber(r[3]), tonumber(ARGV[3])
local before, added = id, 0
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, m in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[2])) do
	local v = redis.call('HGET', ids, m)
	local rescored = false
	if v and string.sub(m, 1, 1) == 'w' then
		local size, length, rest = string.match(v, '^(%d+) (%d+) (.*)$')
		length = tonumber(length)
		local user, event = string.sub(rest, 1, length), string.sub(rest, length + 1)
		n, added = n + 1, added + 1
		id = redis.call('XADD', log, '*', 'n', string.format('%.0f', n), 'b', string.format('%.0f', bytes), 'e', event)
		bytes = bytes + tonumber(size)
		redis.call('HDEL', ids, m)
		if user ~= '' then
			if dedup > 0 then
				redis.call('HSET', ids, user, string.format('%.0f %.0f', n, now + dedup))
				redis.call('ZADD', due, now + dedup, user)
			else
				redis.call('HDEL', ids, user)
			end
		end
	elseif v then
		local offset, till = string.match(v, '^(%d+) (%d+)')
		if offset ~= '0' and tonumber(till) > now then
			redis.call('ZADD', due, till, m)
			rescored = true
		elseif offset ~= '0' then
			redis.call('HDEL', ids, m)
		end
	end
	if not rescored then redis.call('ZREM', due, m) end
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
local wait = -1
if head[1] and head[1] ~= '~' then
	wait = math.max(0, tonumber(head[2]) - now)
	redis.call('HSET', meta, 'n', string.format('%.0f', n), 'id', id, 'b', string.format('%.0f', bytes), 'due', string.format('%.0f', tonumber(head[2])))
else
	redis.call('HSET', meta, 'n', string.format('%.0f', n), 'id', id, 'b', string.format('%.0f', bytes))
	redis.call('HDEL', meta, 'due')
end
if id ~= before then redis.pcall('SPUBLISH', ARGV[1], before .. ' ' .. id .. ' ' .. string.format('%.0f', n)) end
return {added, wait}
