-- Reads what a request needs of a shopper as one reply: a pipeline of three commands costs the client more.
-- KEYS 1 u2q, 2 behaviour, 3 profile, 4 seen
-- ARGV 1 how many actions, 2 how often a hint is seen until it tires
-- Returns the list or nil, the newest actions, the profile or nil, the hints that tire.
local times, tired, limit = {}, {}, tonumber(ARGV[2])
for _, hint in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
  times[hint] = (times[hint] or 0) + 1
  if times[hint] == limit then
    tired[#tired + 1] = hint
  end
end
return {redis.call('GET', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1), redis.call('GET', KEYS[3]), tired}
