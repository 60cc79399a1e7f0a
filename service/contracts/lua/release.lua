-- Gives a lease back undone: the shopper is due again after a pause, or a dead letter after too many tries.
-- KEYS 1 due, 2 leases, 3 state, 4 tries, 5 dead
-- ARGV 1 sid, 2 token, 3 delay_ms, 4 reason ('' if the shopper is not at fault), 5 seq that was read ('' if it was
--      not), 6 max_tries, 7 ttl_s of tries and dead letters
-- Returns 'lost' (another worker took over), 'due', or 'dead'.
local sid, delay = ARGV[1], tonumber(ARGV[3])
if redis.call('HGET', KEYS[2], sid) ~= ARGV[2] then
  return 'lost'
end
redis.call('HDEL', KEYS[2], sid)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[4] ~= '' then
  local tries = redis.call('HINCRBY', KEYS[4], sid, 1)
  redis.call('EXPIRE', KEYS[4], ARGV[7])
  -- What happened meanwhile makes another prompt, which deserves a try of its own.
  local same = ARGV[5] == '' or redis.call('HGET', KEYS[3], 'seq') == ARGV[5]
  if tries >= tonumber(ARGV[6]) and same then
    redis.call('ZREM', KEYS[1], sid)
    redis.pcall('HDEL', KEYS[3], 'deadline')  -- of another type it is why the shopper fails, which is to be told
    redis.call('HSET', KEYS[5], sid, cjson.encode({now, tries, ARGV[4]}))
    redis.call('EXPIRE', KEYS[5], ARGV[7])
    return 'dead'
  end
  delay = math.min(delay * 2 ^ math.min(tries - 1, 20), 3600000)
end
redis.call('ZADD', KEYS[1], now + delay, sid)
return 'due'
