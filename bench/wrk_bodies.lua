-- For wrk: posts the bodies of a .bodies file (bench/bodies.py) in turn.
-- Environment: BODIES, TARGET (the path), ENCODING (a Content-Encoding, optional).
local requests, count, turn = {}, 0, 0

function init()
    local file = assert(io.open(os.getenv("BODIES"), "rb"))
    local headers = { ["Content-Type"] = "application/json", ["Content-Encoding"] = os.getenv("ENCODING") }
    while true do
        local head = file:read(4)
        if not head then break end
        local a, b, c, d = head:byte(1, 4)
        count = count + 1
        requests[count] = wrk.format("POST", os.getenv("TARGET"), headers,
                                     file:read(a + 256 * (b + 256 * (c + 256 * d))))
    end
    file:close()
end

function request()
    turn = turn % count + 1
    return requests[turn]
end

function done(summary, latency)
    local wrong = summary.errors
    print(string.format('RESULT {"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"socket_errors":%d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), wrong.status,
        wrong.connect + wrong.read + wrong.write + wrong.timeout))
end
