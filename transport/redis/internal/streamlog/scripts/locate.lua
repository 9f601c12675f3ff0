#!lua flags=no-writes
-- Finds the ID of an event by bisection over the milliseconds.
-- KEYS log; ARGV offset
-- Returns the ID; nothing if the event is not there.
local want = tonumber(ARGV[1])
local head, tail = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not head then return '' end
local low, high = tonumber(string.match(head[1], '^%d+')), tonumber(string.match(tail[1], '^%d+'))
while low < high do
	local mid = math.floor((low + high) / 2)
	local entry = redis.call('XRANGE', KEYS[1], string.format('%.0f', mid + 1), '+', 'COUNT', 1)[1]
	if entry and tonumber(entry[2][2]) <= want then low = mid + 1 else high = mid end
end
local from = string.format('%.0f', low)
while true do
	local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 100)
	if #page == 0 then return '' end
	for _, entry in ipairs(page) do
		local n = tonumber(entry[2][2])
		if n == want then return entry[1] end
		if n > want then return '' end
	end
	from = '(' .. page[#page][1]
end
