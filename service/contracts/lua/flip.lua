-- Moves the x2q pointer by compare-and-set.
-- KEYS 1 pointer
-- ARGV 1 expected version ('' = none), 2 new version
-- Returns 1 if it moved.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
