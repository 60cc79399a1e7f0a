-- wrk asks for the hints of random shoppers, the same sequence each time; of Feast, for the feature that holds them.
local shoppers, kind = tonumber(os.getenv("BENCH_SHOPPERS")), os.getenv("BENCH_KIND")
local json = {["content-type"] = "application/json"}
math.randomseed(7)
request = function()
  local shopper = "bench-" .. math.random(0, shoppers - 1)
  if kind == "feast" then
    local body = '{"features": ["u2q:hints"], "entities": {"user_id": ["' .. shopper .. '"]}}'
    return wrk.format("POST", "/get-online-features", json, body)
  end
  return wrk.format("GET", "/v1/hints?user_id=" .. shopper)
end
