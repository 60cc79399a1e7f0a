-- Erases all that is held of a shopper, but for log lines.
-- KEYS 1 due, 2 leases, 3 tries, 4 dead, 5... what is the shopper's alone
-- ARGV 1 sid
-- Returns nothing.
redis.call('DEL', unpack(KEYS, 5))
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, 4 do
  redis.call('HDEL', KEYS[i], ARGV[1])
end
