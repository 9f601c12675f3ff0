#!lua
-- Trims the oldest events, a bounded number of them, and forgets idle publishers.
-- KEYS log meta; ARGV age events bytes idle limit   (ms, count, bytes, ms; 0: no bound. idle '': not now)
-- Returns the first offset that is kept, 1 if there is more to trim, and in how many ms the oldest is too old; -1: never.
local log, meta = KEYS[1], KEYS[2]
local r = redis.call('HMGET', meta, 'n', 'b', 'first')
if not r[1] then return redis.error_reply('NOLOG the partition is not there') end
local n, bytes, first = tonumber(r[1]), tonumber(r[2]), tonumber(r[3])
local age, events, most, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local keep, more, wait = nil, 0, -1 -- keep: the ID of the first entry that stays
local from, seen = '-', 0
while seen < limit do
	local page = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
	for _, entry in ipairs(page) do
		local f = entry[2]
		local ms = tonumber(string.match(entry[1], '^(%d+)'))
		local offset, before = tonumber(f[2]), tonumber(f[4]) -- before: the bytes of all events before it
		local old = age > 0 and now - ms >= age
		local many = events > 0 and n - offset >= events
		local large = most > 0 and bytes - before > most
		if not (old or many or large) then
			keep, first = entry[1], offset
			if age > 0 then wait = math.max(0, age - (now - ms)) end
			break
		end
		seen, first, from = seen + 1, offset + 1, '(' .. entry[1]
	end
	if keep or #page == 0 then break end
end
if seen > 0 then
	if keep then
		redis.call('XTRIM', log, 'MINID', keep)
	elseif from ~= '-' then
		local last = string.sub(from, 2)
		local ms, nr = string.match(last, '^(%d+)-(%d+)$')
		redis.call('XTRIM', log, 'MINID', ms .. '-' .. string.format('%.0f', tonumber(nr) + 1))
		if redis.call('XLEN', log) > 0 then more = 1 end
	end
end
if first ~= tonumber(r[3]) then redis.call('HSET', meta, 'first', string.format('%.0f', first)) end
if ARGV[4] ~= '' then
	local idle, fields = tonumber(ARGV[4]), redis.call('HGETALL', meta)
	for i = 1, #fields, 2 do
		if string.sub(fields[i], 1, 2) == 'p:' and string.sub(fields[i], 1, 9) ~= 'p:staged:' then
			local s = string.match(fields[i + 1], '^%d+ %d+ (%d+)')
			if s and now - tonumber(s) >= idle then redis.call('HDEL', meta, fields[i]) end
		end
	end
end
return {first, more, wait}
