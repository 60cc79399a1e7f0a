-- Puts shoppers of one partition ahead of all who wait with a list: they are here now, and theirs is missing or old.
-- A lease stays as it is, and so does a mark still to come: the quiet after an event.
-- KEYS 1 due, 2 leases
-- ARGV sids
-- Returns nothing.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for _, sid in ipairs(ARGV) do
  if tonumber(redis.call('ZSCORE', KEYS[1], sid) or 0) <= now and redis.call('HEXISTS', KEYS[2], sid) == 0 then
    redis.call('ZADD', KEYS[1], -now, sid)
  end
end
