#!lua
-- Counts a start of an event.
-- KEYS meta deferred; ARGV lease token field letter   (letter: '' or the ID of one that must be marked for replay)
-- Returns OK and the count; FENCED and the lease; or SETTLED.
local lease = redis.call('HGET', KEYS[1], ARGV[1])
local token, state = string.match(lease or '', '^%d+ (%S+) (%a)')
if token ~= ARGV[2] or state ~= 'h' then return {'FENCED', lease or ''} end
if ARGV[4] ~= '' then
	local m = redis.call('HGET', KEYS[2], 'm' .. ARGV[4])
	if not m or string.sub(m, 1, 1) ~= 'r' then return {'SETTLED'} end
end
return {'OK', redis.call('HINCRBY', KEYS[2], ARGV[3], 1)}
