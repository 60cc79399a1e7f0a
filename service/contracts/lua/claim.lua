-- Leases the shoppers of one partition who are due: those ahead (a negative score: minus the time of their mark), the
-- latest first; then the others, longest due first.
-- The score becomes the lease's expiry, so an expired lease is simply due again. A worker that lets a lease expire was
-- killed; that counts as a try, since the shopper's own data may be what kills workers.
-- KEYS 1 due, 2 leases, 3 tries, 4 dead
-- ARGV 1 token, 2 lease_ms, 3 limit, 4 max_tries, 5 ttl_s of tries and dead letters
-- Returns {sid, how late in ms, tries that failed, 1 if ahead else 0, ...}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[3]))
local claimed = {}
for i = 1, #found, 2 do
  local sid, buried = found[i], false
  local tries = tonumber(redis.call('HGET', KEYS[3], sid)) or 0
  if redis.call('HEXISTS', KEYS[2], sid) == 1 then
    tries = redis.call('HINCRBY', KEYS[3], sid, 1)
    redis.call('EXPIRE', KEYS[3], ARGV[5])
    buried = tries >= tonumber(ARGV[4])
  end
  if buried then
    redis.call('ZREM', KEYS[1], sid)
    redis.call('HDEL', KEYS[2], sid)
    redis.call('HSET', KEYS[4], sid, cjson.encode({now, tries, 'workers that held it died'}))
    redis.call('EXPIRE', KEYS[4], ARGV[5])
  else
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), sid)
    redis.call('HSET', KEYS[2], sid, ARGV[1])
    claimed[#claimed + 1] = sid
    claimed[#claimed + 1] = math.floor(now - math.abs(tonumber(found[i + 1])))
    claimed[#claimed + 1] = tries
    claimed[#claimed + 1] = tonumber(found[i + 1]) < 0 and 1 or 0
  end
end
return claimed
