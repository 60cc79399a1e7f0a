-- Gives a lease back undone: the shopper is due again after a pause.
-- KEYS 1 due, 2 leases
-- ARGV 1 sid, 2 token, 3 delay_ms
-- Returns 1 if the lease was still held.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[3]), ARGV[1])
return 1
