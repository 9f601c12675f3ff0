#!lua
-- Settles events of a lease: all of it, or nothing.
-- KEYS meta deferred letters staged log; ARGV lease token acks newacks lastletter its value seen its ID number its value, then operations:
--   number: a field that has the number of the last commit: one that is sent again changes nothing.
--   seen: the last offset that the holder has read, with the ID of that event; 0: none.
--   S field value: keep a field of deferred.        D field: drop one.
--   L id offset ms event failure: a new letter.     P ref id: a replay is done: its letter is no more.
--   F ref id failure: a replay was given up.        X ref id value: a replay is deferred.
--   O id topic partition count, then size due user event of each: what was published within an event; id: '', or its
--   letter, and then nothing is done unless that is marked for replay.
-- P, F and X do nothing if the letter is not marked for replay. ref is "offset.id".
-- Returns OK; FENCED and the lease; or DIVERGED and the last offset, see fetch.
local lease = redis.call('HGET', KEYS[1], ARGV[1])
local fence, token, state, renewals, member = string.match(lease or '', '^(%d+) (%S+) (%a) (%d+) (.*)$')
if token ~= ARGV[2] or state ~= 'h' then return {'FENCED', lease or ''} end
if redis.call('HGET', KEYS[1], ARGV[9]) == ARGV[10] then return {'OK'} end
local deferred, letters, at = KEYS[2], KEYS[3], 11
if ARGV[7] ~= '0' then
	local r = redis.call('HMGET', KEYS[1], 'n', 'first')
	if tonumber(ARGV[7]) >= tonumber(r[2]) then
		local entry = redis.call('XRANGE', KEYS[5], ARGV[8], ARGV[8])[1]
		if not entry or entry[2][2] ~= ARGV[7] then return {'DIVERGED', r[1]} end
	end
end
local marked = function(id)
	local m = redis.call('HGET', deferred, 'm' .. id)
	return m and string.sub(m, 1, 1) == 'r'
end
while at <= #ARGV do
	local op = ARGV[at]
	if op == 'S' then
		redis.call('HSET', deferred, ARGV[at + 1], ARGV[at + 2])
		at = at + 3
	elseif op == 'D' then
		redis.call('HDEL', deferred, ARGV[at + 1])
		at = at + 2
	elseif op == 'L' then
		local id = ARGV[at + 1] .. '-0'
		if #redis.call('XRANGE', letters, id, id) == 0 then
			redis.call('XADD', letters, id, 'o', ARGV[at + 2], 't', ARGV[at + 3], 'e', ARGV[at + 4], 'f', ARGV[at + 5])
		end
		at = at + 6
	elseif op == 'P' then
		local ref, id = ARGV[at + 1], ARGV[at + 2]
		if marked(id) then
			redis.call('XDEL', letters, id .. '-0')
			redis.call('HDEL', deferred, 'm' .. id, 'x' .. ref, 's' .. ref)
		end
		at = at + 3
	elseif op == 'F' then
		local ref, id = ARGV[at + 1], ARGV[at + 2]
		if marked(id) then
			redis.call('HDEL', deferred, 'x' .. ref, 's' .. ref)
			redis.call('HSET', deferred, 'm' .. id, 'w' .. ARGV[at + 3])
		end
		at = at + 4
	elseif op == 'O' then
		local id, topic, partition, count = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
		if id == '' or marked(id) then
			local seq = redis.call('HINCRBY', KEYS[1], 'q:' .. partition .. ':' .. topic, count) - count + 1
			local add = {'XADD', KEYS[4], '*', 't', topic, 'p', partition, 's', string.format('%.0f', seq)}
			for i = at + 5, at + 4 + 4 * count, 4 do
				for k, name in ipairs({'size', 'due', 'user', 'e'}) do
					add[#add + 1] = name
					add[#add + 1] = ARGV[i + k - 1]
				end
			end
			redis.call(unpack(add))
			redis.call('HINCRBY', KEYS[1], 'out', 1)
		end
		at = at + 5 + 4 * count
	else -- X
		local ref, id = ARGV[at + 1], ARGV[at + 2]
		if marked(id) then
			redis.call('HDEL', deferred, 's' .. ref)
			redis.call('HSET', deferred, 'x' .. ref, ARGV[at + 3])
		end
		at = at + 4
	end
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[9], ARGV[10], ARGV[1], fence .. ' ' .. token .. ' h ' .. string.format('%.0f', tonumber(renewals) + 1) .. ' ' .. member)
return {'OK'}
