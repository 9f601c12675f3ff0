#!lua
-- Adds a batch, or none of it.
-- KEYS log meta due ids
-- ARGV channel publisher epoch seq count dedup idle, then for each event: size due id event
--   size: bytes; due: ms, 0 is at once; id: '' or 'i' and the ID that a user gave; dedup, idle: ms; idle 0: never
-- Returns what became of it, and the first offset, the indexes that wait, index:offset of duplicates.
local log, meta, due, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publisher, epoch, seq, count = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local dedup, idle = tonumber(ARGV[6]), tonumber(ARGV[7])
local field = 'p:' .. publisher
local r = redis.call('HMGET', meta, 'n', 'id', 'b', 'due', field)
if not r[1] then return redis.error_reply('NOLOG the partition is not there') end
local n, id, bytes, earliest = tonumber(r[1]), r[2], tonumber(r[3]), tonumber(r[4] or 'inf')
local before = id
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if publisher ~= '' then
	local known, last, first, result = nil, 0, 0, ''
	if r[5] then
		local e, l, seen, f, x = string.match(r[5], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
		if idle == 0 or now - tonumber(seen) < idle then known, last, first, result = tonumber(e), tonumber(l), tonumber(f), x end
	end
	if known and epoch < known then return {'STALE', tostring(known)} end
	if known and epoch > known then last, first = 0, 0 end
	local final = seq + count - 1
	if seq == 0 or seq ~= last + 1 then
		if seq == 0 or final > last then return {'SEQGAP', string.format('%.0f', last)} end
		redis.call('HSET', meta, field, r[5]) -- a write, so that WAIT covers it
		if seq == first and final == last then return {'REPEATED', result} end
		return {'REPEATED', ''}
	end
end
local first, waiting, duplicates = 0, {}, {}
for i = 0, count - 1 do
	local o = 8 + i * 4
	local size, at, user, event = tonumber(ARGV[o]), tonumber(ARGV[o + 1]), ARGV[o + 2], ARGV[o + 3]
	local seen = nil
	if user ~= '' then
		local have = redis.call('HGET', ids, user)
		if have then
			local offset, till = string.match(have, '^(%d+) (%d+)')
			if offset == '0' or now < tonumber(till) then seen = offset end
		end
	end
	if seen then
		duplicates[#duplicates + 1] = i .. ':' .. seen
	elseif at > now then
		local w = string.format('w%016.0f', redis.call('HINCRBY', ids, '#', 1))
		redis.call('HSET', ids, w, string.format('%.0f %d %s%s', size, #user, user, event))
		redis.call('ZADD', due, at, w)
		if user ~= '' then redis.call('HSET', ids, user, '0 0 ' .. w) end
		if at < earliest then earliest = at end
		waiting[#waiting + 1] = i
	else
		n = n + 1
		id = redis.call('XADD', log, '*', 'n', string.format('%.0f', n), 'b', string.format('%.0f', bytes), 'e', event)
		bytes = bytes + size
		if first == 0 then first = n end
		if user ~= '' and dedup > 0 then
			redis.call('HSET', ids, user, string.format('%.0f %.0f', n, now + dedup))
			redis.call('ZADD', due, now + dedup, user)
		end
	end
end
local result = string.format('%.0f|%s|%s', first, table.concat(waiting, ','), table.concat(duplicates, ','))
local set = {'n', string.format('%.0f', n), 'id', id, 'b', string.format('%.0f', bytes)}
if earliest < math.huge then
	set[#set + 1] = 'due'
	set[#set + 1] = string.format('%.0f', earliest)
end
if publisher ~= '' then
	set[#set + 1] = field
	set[#set + 1] = string.format('%.0f %.0f %.0f %.0f %s', epoch, seq + count - 1, now, seq, result)
end
redis.call('HSET', meta, unpack(set))
if id ~= before then redis.pcall('SPUBLISH', ARGV[1], before .. ' ' .. id .. ' ' .. string.format('%.0f', n)) end
return {'OK', result}
