#!lua
-- Takes the lease of a partition, if nobody holds it, or if it is as the caller has seen it for a whole lease time.
-- KEYS meta log deferred; ARGV lease acks seen token member replays lastletter
-- A lease is "fence token state renewals member"; state: h held, r released, x ended with events under way, s sought.
-- Returns TAKEN, fence, 1 if events may be under way, acks, last and first offset, incarnation, replays' version, deferred, last letter; or HELD and the lease.
local r = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2], 'n', 'first', 'inc', ARGV[6], ARGV[7])
if not r[3] then return redis.error_reply('NOLOG the partition is not there') end
if not r[1] then return {'NOCONSUMER'} end
local fence, state = string.match(r[1], '^(%d+) %S+ (%a)')
if state == 'h' and r[1] ~= ARGV[3] then return {'HELD', r[1]} end
local unclean = 0
if state == 'h' or state == 'x' then unclean = 1 end
fence = string.format('%.0f', tonumber(fence) + 1)
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. ARGV[4] .. ' h 0 ' .. ARGV[5])
return {'TAKEN', fence, unclean, r[2], r[3], r[4], r[5], r[6] or '0', redis.call('HGETALL', KEYS[3]), r[7] or '0'}
