#!lua
-- Renews a lease, or ends it.
-- KEYS meta; ARGV lease token state channel
-- Returns OK, or FENCED and the lease.
local have = redis.call('HGET', KEYS[1], ARGV[1])
local fence, token, state, renewals, member = string.match(have or '', '^(%d+) (%S+) (%a) (%d+) (.*)$')
if token ~= ARGV[2] or state ~= 'h' then return {'FENCED', have or ''} end
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. token .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', tonumber(renewals) + 1) .. ' ' .. member)
if ARGV[3] ~= 'h' then redis.pcall('SPUBLISH', ARGV[4], 'lease') end
return {'OK'}
