-- Looks at the queue of one partition.
-- KEYS 1 due
-- ARGV 1 shed_after_ms
-- Returns {how many wait, are due or leased; by how many ms the longest waiting is past due; how many stand back for
-- those ahead, since that is more than shed_after_ms}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = redis.call('ZRANGEBYSCORE', KEYS[1], 0, now, 'WITHSCORES', 'LIMIT', 0, 1)[2] or now
local ahead = redis.call('ZREVRANGEBYSCORE', KEYS[1], '(0', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or -now
local behind = 0
if now - oldest > tonumber(ARGV[1]) then
  behind = redis.call('ZCOUNT', KEYS[1], 0, now)
end
return {redis.call('ZCARD', KEYS[1]), math.floor(math.max(now - oldest, now + ahead)), behind}
