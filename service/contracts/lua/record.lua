-- Records what was learned about a shopper: events, a profile, or both, in one atomic step.
-- KEYS 1 behaviour, 2 state, 3 due, 4 leases, 5 events, 6 profile, 7 u2q, 8 tries, 9 dead, 10 seen
-- ARGV 1 sid, 2 delay_ms, 3 max_wait_ms, 4 urgent_delay_ms, 5 urgent ('1', '0' or 'first': if the shopper is new),
--      6 max_events, 7 ttl_s, 8 stream_maxlen, 9 profile ('' = unchanged), 10 consent ('' = unchanged, '1', '0'),
--      11 cooldown_ms, 12 max_exposures, 13 shed_after_ms, 14 m, 15 n, then n behaviour entries, m hints ('+' seen, '-'
--      clicked, before the hint) in order, then the log lines
-- Returns the shopper's seq; 0 if nothing about the shopper changed.
local sid, delay, max_wait, urgent_delay = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ttl, m, n = tonumber(ARGV[7]), tonumber(ARGV[14]), tonumber(ARGV[15])

if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[2], 'consent', ARGV[10])
end
if ARGV[9] ~= '' then
  redis.call('SET', KEYS[6], ARGV[9], 'EX', ttl)
end
if redis.call('HGET', KEYS[2], 'consent') == '0' then
  -- No personalisation: what was known goes, and nothing new is kept.
  redis.call('DEL', KEYS[1], KEYS[7], KEYS[10])
  redis.call('ZREM', KEYS[3], sid)
  redis.call('HDEL', KEYS[4], sid)
  redis.call('HDEL', KEYS[8], sid)
  redis.call('HDEL', KEYS[9], sid)
  redis.call('EXPIRE', KEYS[2], 5 * 366 * 86400)  -- a refusal outlives the behaviour that it refused
  return 0
end
for i = 16 + n, 15 + n + m do
  local hint = string.sub(ARGV[i], 2)
  if string.sub(ARGV[i], 1, 1) == '+' then
    redis.call('LPUSH', KEYS[10], hint)
  else
    redis.call('LREM', KEYS[10], 0, hint)  -- who clicks a hint is not tired of it
  end
end
if m > 0 then
  redis.call('LTRIM', KEYS[10], 0, tonumber(ARGV[12]) - 1)
  redis.call('EXPIRE', KEYS[10], ttl)
end
for i = 16 + n + m, #ARGV do
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[8], '*', 'e', ARGV[i])
end
if n == 0 and ARGV[9] == '' then
  return 0
end

if n > 0 then
  for i = 16, 15 + n do
    redis.call('LPUSH', KEYS[1], ARGV[i])
  end
  redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[6]) - 1)
  redis.call('EXPIRE', KEYS[1], ttl)
  redis.call('EXPIRE', KEYS[6], ttl)
end
local seq = redis.call('HINCRBY', KEYS[2], 'seq', math.max(n, 1))
redis.call('EXPIRE', KEYS[2], ttl)

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local cool = (tonumber(redis.call('HGET', KEYS[2], 'done')) or 0) + tonumber(ARGV[11])
local deadline = tonumber(redis.call('HGET', KEYS[2], 'deadline')) or math.max(now + max_wait, cool)
if ARGV[5] == '1' or (ARGV[5] == 'first' and seq == n) then
  deadline = math.min(deadline, now + urgent_delay)
end
redis.call('HSET', KEYS[2], 'deadline', deadline)
-- While leased, the score is the lease's expiry; completing sees that seq moved and keeps the shopper due.
if redis.call('HEXISTS', KEYS[4], sid) == 0 then
  local score = math.min(math.max(now + delay, cool), deadline)
  local ahead = tonumber(redis.call('ZSCORE', KEYS[3], sid) or 0) < 0
  if ahead or ARGV[5] == '1' or (redis.call('EXISTS', KEYS[7]) == 0 and cool <= now) then
    local oldest = redis.call('ZRANGEBYSCORE', KEYS[3], 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if oldest and now - oldest > tonumber(ARGV[13]) then
      score = -now  -- who has no list, or bought, goes (and stays) ahead of all who wait with one, the latest first
    end
  end
  redis.call('ZADD', KEYS[3], score, sid)
end
return seq
