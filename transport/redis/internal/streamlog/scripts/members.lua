#!lua
-- Joins, keeps up or leaves the membership of a consumer.
-- KEYS members; ARGV what member flags name   (what: join, beat, leave, expire; for expire flags is what was seen)
-- A member is "number flags beats name". Returns 1 (0: the member is not there), then all fields; or MIXED and the other.
local key, what, id = KEYS[1], ARGV[1], ARGV[2]
local have = redis.call('HGET', key, id)
local ok = 1
if what == 'join' then
	local all = redis.call('HGETALL', key)
	for i = 1, #all, 2 do
		local flags, name = string.match(all[i + 1], '^%d+ (%S+) %d+ (.*)$')
		if flags and flags ~= ARGV[3] then return {'MIXED', name .. ' ' .. flags} end
	end
	redis.call('HSET', key, id, string.format('%.0f %s 0 %s', redis.call('HINCRBY', key, '#', 1), ARGV[3], ARGV[4]))
elseif what == 'beat' then
	local number, flags, beats, name = string.match(have or '', '^(%d+) (%S+) (%d+) (.*)$')
	if number then
		redis.call('HSET', key, id, string.format('%s %s %.0f %s', number, flags, tonumber(beats) + 1, name))
	else
		ok = 0
	end
elseif what == 'leave' then
	redis.call('HDEL', key, id)
elseif have and have == ARGV[3] then
	redis.call('HDEL', key, id)
end
return {ok, redis.call('HGETALL', key)}
