-- Writes fields of a hash and its TTL, so that it is never there without one.
-- KEYS 1 hash
-- ARGV 1 ttl_s, then fields and values by turns
-- Returns nothing.
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
