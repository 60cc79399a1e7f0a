-- Ends a lease without a list: the shopper leaves the queue until the next event or visit.
-- KEYS 1 due, 2 leases, 3 state, 4 tries
-- ARGV 1 sid, 2 token, 3 seq that was read
-- Returns 'lost' (another worker took over), 'again' (something happened meanwhile: due now), or 'idle'.
local sid = ARGV[1]
if redis.call('HGET', KEYS[2], sid) ~= ARGV[2] then
  return 'lost'
end
redis.call('HDEL', KEYS[2], sid)
redis.call('HDEL', KEYS[4], sid)
if (redis.call('HGET', KEYS[3], 'seq') or '0') ~= ARGV[3] then
  local clock = redis.call('TIME')
  redis.call('ZADD', KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000), sid)
  return 'again'
end
redis.call('ZREM', KEYS[1], sid)
redis.call('HDEL', KEYS[3], 'deadline')
return 'idle'
