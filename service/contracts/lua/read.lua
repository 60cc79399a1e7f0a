-- Reads what a request needs of a shopper as one reply: a pipeline of three commands costs the client more.
-- A string that is too long to be ours, or a key of another type, is left and told: it costs no other key its answer.
-- KEYS 1 u2q, 2 behaviour, 3 profile, 4 seen
-- ARGV 1 how many actions, 2 how often a hint is seen until it tires, 3 how many bytes a value has at most
-- Returns the list or nil, the newest actions, the profile or nil, the hints that tire, and what was left: kind and
-- reason by turns.
local most, left = tonumber(ARGV[3]), {}

local function leave(kind, reason)
  left[#left + 1] = kind
  left[#left + 1] = reason
end

local function read(kind, command, key, last)
  local found = redis.pcall(command, key, 0, last)
  if not found.err then
    return found
  elseif string.sub(found.err, 1, 9) ~= 'WRONGTYPE' then
    error(found)
  end
  leave(kind, 'type')
end

-- GETRANGE: a GET that ends somewhere.
local function text(kind, key)
  local found = read(kind, 'GETRANGE', key, most)
  if found == '' then
    return redis.call('GET', key)  -- absent, or indeed empty
  elseif found and #found > most then
    return leave(kind, 'size')
  end
  return found
end

local times, tired, limit = {}, {}, tonumber(ARGV[2])
for _, hint in ipairs(read('seen', 'LRANGE', KEYS[4], -1) or {}) do
  times[hint] = (times[hint] or 0) + 1
  if times[hint] == limit then
    tired[#tired + 1] = hint
  end
end
local actions = read('behaviour', 'LRANGE', KEYS[2], ARGV[1] - 1) or {}
return {text('u2q', KEYS[1]) or false, actions, text('profile', KEYS[3]) or false, tired, left}
