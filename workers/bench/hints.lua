-- wrk asks for the hints of random shoppers, the same sequence each time.
local shoppers = tonumber(os.getenv("BENCH_SHOPPERS"))
math.randomseed(7)
request = function()
  return wrk.format("GET", "/v1/hints?user_id=bench-" .. math.random(0, shoppers - 1))
end
