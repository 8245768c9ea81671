-- The load of the benchmark ingest: wrk … -- key batch prefix. Each event has an id of its own.
local key, batch, prefix, count, path
local filling = string.rep("x", 330)

local function event()
  count = count + 1
  return string.format(
    '{"specversion":"1.0","source":"bench","id":"%s-%d","type":"cart.filled","subject":"cart/%d",' ..
    '"data":{"items":%d,"note":"%s"}}', prefix, count, count % 1000, count, filling)
end

function init(args)
  key, batch, prefix, count, path = args[1], tonumber(args[2]), args[3], 0, "/v1/events"
  wrk.method = "POST"
  wrk.headers["Authorization"] = "Bearer " .. key
  wrk.headers["Content-Type"] = batch > 1 and "application/cloudevents-batch+json"
    or "application/cloudevents+json"
end

function request()
  if batch == 1 then return wrk.format(nil, path, nil, event()) end
  local all = {}
  for i = 1, batch do all[i] = event() end
  return wrk.format(nil, path, nil, "[" .. table.concat(all, ",") .. "]")
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
