#!lua flags=no-writes
-- Reads events behind an offset.
-- KEYS meta log; ARGV lease token replays after id count bytes   (id: of the event at after; '': not known)
-- Returns OK, last and first offset, replays' version, entries; FENCED and the lease; or DIVERGED and the last offset, if
-- the event at after is another one than it was, or is no more and was not trimmed: a fail-over lost it.
local r = redis.call('HMGET', KEYS[1], ARGV[1], 'n', 'first', ARGV[3])
local token, state = string.match(r[1] or '', '^%d+ (%S+) (%a)')
if token ~= ARGV[2] or state ~= 'h' then return {'FENCED', r[1] or ''} end
local n, after, id, count, bytes = tonumber(r[2]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local entries = {}
if id ~= '' and after >= tonumber(r[3]) then
	local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
	if not entry or tonumber(entry[2][2]) ~= after then return {'DIVERGED', r[2]} end
end
if count > 0 and after < n then
	local from = '-'
	if id ~= '' then
		from = '(' .. id
	elseif after >= tonumber(r[3]) then -- look for it by bisection over the milliseconds
		local head, tail = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1], redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
		if head then
			local low, high = tonumber(string.match(head[1], '^%d+')), tonumber(string.match(tail[1], '^%d+'))
			while low < high do
				local mid = math.floor((low + high) / 2)
				local entry = redis.call('XRANGE', KEYS[2], string.format('%.0f', mid + 1), '+', 'COUNT', 1)[1]
				if entry and tonumber(entry[2][2]) <= after + 1 then low = mid + 1 else high = mid end
			end
			from = string.format('%.0f', low)
		end
	end
	local size = 0
	while #entries < count and size <= bytes do
		local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', math.min(64, count - #entries + 8))
		if #page == 0 then break end
		for _, entry in ipairs(page) do
			if tonumber(entry[2][2]) > after and #entries < count and (size <= bytes or #entries == 0) then
				size = size + #entry[2][6]
				entries[#entries + 1] = {entry[1], entry[2][2], entry[2][6]}
			end
		end
		from = '(' .. page[#page][1]
	end
end
return {'OK', r[2], r[3], r[4] or '0', entries}
