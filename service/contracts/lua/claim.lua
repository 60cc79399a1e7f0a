-- Leases the shoppers of one partition who are due, longest due first.
-- The score becomes the lease's expiry, so an expired lease is simply due again.
-- KEYS 1 due, 2 leases
-- ARGV 1 token, 2 lease_ms, 3 limit
-- Returns {sid, how late in ms, ...}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[3]))
local claimed = {}
for i = 1, #found, 2 do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), found[i])
  redis.call('HSET', KEYS[2], found[i], ARGV[1])
  claimed[#claimed + 1] = found[i]
  claimed[#claimed + 1] = math.floor(now - tonumber(found[i + 1]))
end
return claimed
