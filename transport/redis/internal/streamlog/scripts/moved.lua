#!lua
-- Removes what was moved on from what is staged.
-- KEYS meta staged; ARGV IDs
-- Returns how many are left.
local removed = redis.call('XDEL', KEYS[2], unpack(ARGV))
if removed == 0 then return tonumber(redis.call('HGET', KEYS[1], 'out') or '0') end
return redis.call('HINCRBY', KEYS[1], 'out', -removed)
