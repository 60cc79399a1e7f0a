-- Finds which queues have someone due. A worker asks before each claim, so it is one call for all of a server's.
-- KEYS due of some partitions
-- ARGV none
-- Returns {number of a queue among KEYS, counted from 0, the score of whom it would give first, ...}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = {}
for number, due in ipairs(KEYS) do
  local first = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    found[#found + 1] = number - 1
    found[#found + 1] = first[2]
  end
end
return found
