-- Takes the dead letters of one partition out: each is due now, with no tries counted.
-- KEYS 1 due, 2 tries, 3 dead
-- ARGV none
-- Returns how many.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local dead = redis.call('HKEYS', KEYS[3])
for _, sid in ipairs(dead) do
  redis.call('ZADD', KEYS[1], 'NX', now, sid)
  redis.call('HDEL', KEYS[2], sid)
end
redis.call('DEL', KEYS[3])
return #dead
