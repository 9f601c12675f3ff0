#!lua
-- Marks letters for replay, or removes them.
-- KEYS meta deferred letters; ARGV replays what channel, then IDs   (what: replay, purge)
-- Returns how many there were.
local count = 0
for i = 4, #ARGV do
	local id = ARGV[i]
	local entry = redis.call('XRANGE', KEYS[3], id .. '-0', id .. '-0')[1]
	if entry then
		count = count + 1
		if ARGV[2] == 'purge' then
			local ref = entry[2][2] .. '.' .. id
			redis.call('XDEL', KEYS[3], entry[1])
			redis.call('HDEL', KEYS[2], 'm' .. id, 'x' .. ref, 's' .. ref)
		else
			local m = redis.call('HGET', KEYS[2], 'm' .. id)
			redis.call('HSET', KEYS[2], 'm' .. id, 'r' .. string.sub(m or 'w', 2))
		end
	end
end
if count > 0 then
	redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
	redis.pcall('SPUBLISH', ARGV[3], 'letters')
end
return count
