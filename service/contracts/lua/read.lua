-- Reads what a request needs of a shopper as one reply: a pipeline of three commands costs the client more.
-- KEYS 1 u2q, 2 behaviour, 3 profile
-- ARGV 1 how many actions
-- Returns the list or nil, the newest actions, the profile or nil.
return {redis.call('GET', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1), redis.call('GET', KEYS[3])}
