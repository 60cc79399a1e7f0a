-- Ends a lease by compare-and-set: u2q is written only if the lease is still held and seq is not older than what is
-- stored; the due mark goes only if seq has not moved since the behaviour was read.
-- KEYS 1 due, 2 leases, 3 state, 4 u2q, 5 tries, 6 dead
-- ARGV 1 sid, 2 token, 3 seq, 4 value, 5 ttl_ms, 6 delay_ms, 7 max_wait_ms, 8 cooldown_ms
-- Returns 'lost' (another worker took over), 'gone' (the shopper was forgotten), 'stale', 'done', or 'again'.
local sid, seq = ARGV[1], tonumber(ARGV[3])
if redis.call('HGET', KEYS[2], sid) ~= ARGV[2] then
  return 'lost'
end
redis.call('HDEL', KEYS[2], sid)
redis.call('HDEL', KEYS[5], sid)
redis.call('HDEL', KEYS[6], sid)
local current = tonumber(redis.call('HGET', KEYS[3], 'seq'))
if not current then
  redis.call('ZREM', KEYS[1], sid)
  return 'gone'
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if tonumber(ARGV[8]) > 0 then
  redis.call('HSET', KEYS[3], 'done', now)
end
local outcome = 'done'
if (tonumber(redis.call('HGET', KEYS[3], 'u2q_seq')) or 0) > seq then
  outcome = 'stale'
else
  redis.call('SET', KEYS[4], ARGV[4], 'PX', ARGV[5])
  redis.call('HSET', KEYS[3], 'u2q_seq', seq)
end
if current == seq then
  redis.call('ZREM', KEYS[1], sid)
  redis.call('HDEL', KEYS[3], 'deadline')
  return outcome
end
redis.call('ZADD', KEYS[1], now + math.max(math.min(tonumber(ARGV[6]), tonumber(ARGV[7])), tonumber(ARGV[8])), sid)
redis.call('HSET', KEYS[3], 'deadline', now + tonumber(ARGV[7]))
return 'again'
