-- What wrk is told to ask for, and how it tells what came of it.
--   URLS=N   the paths of PREFIX0 to PREFIX(N-1), all of them again and again; 0: never the same path twice
--   PREFIX   the beginning of each path; with URLS=1 the whole of it

local prefix = os.getenv("PREFIX")
local urls = tonumber(os.getenv("URLS"))

if urls == 1 then
  wrk.path = prefix
elseif urls > 1 then
  local requests, at = {}, 0
  function init()
    math.randomseed(4711)
    for i = 1, urls do requests[i] = wrk.format(nil, prefix .. (i - 1)) end
  end
  -- Each time round in another order: the same one over and over is the worst case of every cache that is a little too small.
  function request()
    at = at % urls + 1
    local other = math.random(at, urls)
    requests[at], requests[other] = requests[other], requests[at]
    return requests[at]
  end
else
  local before, after, at = nil, nil, 0
  function init()
    before, after = wrk.format(nil, prefix .. "@"):match("^(.-)@(.*)$")
  end
  function request()
    at = at + 1
    return before .. at .. after
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "most": %.6f, "wrong_status": %d, "errors": %d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
