// http1_node.mjs DUMP [COUNT] [SEED] - our HTTP parser (http1_dump) beside node's (llhttp, strict flags) on the same
// byte streams: valid requests, pipelined, with what an attacker does to them. A stream that both accept must mean the
// same to both: methods, targets, headers, bodies, where the next request begins. Where we refuse what node takes, the
// code word must be one that docs/decisions/http-strictness.md lists; where node refuses what we take, the case must
// be one of `ours` below.
import { createRequire } from 'node:module'
import { byOurs, connection, listedRefusals, makeStreams, tell } from './http1_streams.mjs'

const { HTTPParser, methods: nodeMethods } = createRequire(import.meta.url)('_http_common')
const [dump, count = '12000', seedText = '20260203'] = process.argv.slice(2)
const streams = makeStreams(count, seedText)
const ours = byOurs(dump, streams)

// --- node ------------------------------------------------------------------------------------------------------------
function byNode(stream) {
  const requests = []
  let current, early, upgraded = false, closed = false
  const parser = new HTTPParser()
  parser.initialize(HTTPParser.REQUEST, {}, 64 << 10, 0)
  parser[HTTPParser.kOnMessageBegin | 0] = () => { early = { headers: [], url: '' }; current = undefined }
  parser[HTTPParser.kOnHeaders | 0] = (list, url) => { if (!current) { early.headers.push(...list); early.url += url } }
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, list, method, url, _status, _message, upgrade, keep) => {
    const all = early.headers.concat(list ?? [])
    current = { methodIndex: method, target: early.url + (url ?? ''), minor, keep, headers: [], body: '', done: false }
    for (let i = 0; i < all.length; i += 2) current.headers.push([all[i].toLowerCase(), all[i + 1].replace(/^[ \t]+|[ \t]+$/g, '')])
    requests.push(current)
    upgraded ||= upgrade
    return 0
  }
  parser[HTTPParser.kOnBody | 0] = (buffer, offset, length) => {
    const part = offset === undefined ? buffer : buffer.subarray(offset, offset + length)
    current.body += part.toString('hex')
  }
  parser[HTTPParser.kOnMessageComplete | 0] = () => { if (current) { current.done = true; closed ||= !current.keep } }
  const result = parser.execute(stream)
  const error = result instanceof Error ? result.code ?? 'error' : ''
  parser.close()
  // What follows a request that closes is nobody's business, and node says so with an error of its own.
  return { requests, end: closed && error === 'HPE_CLOSED_CONNECTION' ? '' : error, upgraded, closed }
}

// --- comparison ------------------------------------------------------------------------------------------------------
const listed = listedRefusals()
// What node refuses and we take, by its error code; why each is no gap stands in docs/decisions/http-strictness.md.
const taken = {
  // Content-Length or Transfer-Encoding among the trailers: we drop trailers, so nothing depends on them
  HPE_INVALID_CONTENT_LENGTH: request => request.chunked,
  HPE_INVALID_TRANSFER_ENCODING: request => request.chunked,
}
const stricter = {}, laxer = {}, failures = []
let same = 0

function differs(mine, theirs) {
  const method = nodeMethods[theirs.methodIndex]
  if (mine.method !== method) return `method ${mine.method} / ${method}`
  if (mine.target !== theirs.target) return `target ${mine.target} / ${theirs.target}`
  if (mine.minor !== theirs.minor) return `minor ${mine.minor} / ${theirs.minor}`
  // RFC 9112 §9.3: close comes first, on HTTP/1.0 too, and a tab may follow it (docs/decisions/http-strictness.md)
  const both = !mine.keep && theirs.keep && /\bclose\b/i.test(connection(mine))
  if (!both && !!mine.keep !== !!theirs.keep) return `keep alive ${mine.keep} / ${theirs.keep}`
  if (JSON.stringify(mine.headers) !== JSON.stringify(theirs.headers)) return `headers ${JSON.stringify(mine.headers)} / ${JSON.stringify(theirs.headers)}`
  if (mine.done !== theirs.done) return `done ${mine.done} / ${theirs.done}`
  if (mine.body !== theirs.body) return `body ${mine.body} / ${theirs.body}`
}

streams.forEach((stream, i) => {
  const theirs = byNode(stream), mine = ours[i]
  const fail = why => failures.push(`stream ${i}: ${why}\n${JSON.stringify(stream.toString('latin1'))}\nours ${mine.end || 'right'}, node ${theirs.end || 'right'}`)
  for (let n = 0; ; n++) {
    const a = mine.requests[n], b = theirs.requests[n]
    if (a && b && a.done && b.done) { // both understood it: the same thing
      const why = differs(a, b)
      if (why) return fail(`request ${n}: ${why}`)
      same++
      if (!mine.keep) return
      if (theirs.upgraded && n === theirs.requests.length - 1) return
      continue
    }
    // Behind a request that asks for an upgrade, node tells no error: it has stopped, and nobody knows why.
    if (theirs.upgraded && a?.done && b && !b.done) return
    // One of them stopped here. A refusal must be known; without one, both must have stopped, for want of bytes.
    if (mine.end !== '') {
      if (theirs.end === '' || b?.done) {
        stricter[mine.end] = (stricter[mine.end] ?? 0) + 1
        if (!listed.has(mine.end)) fail(`refused as ${mine.end}, which docs/decisions/http-strictness.md does not list`)
      }
      return
    }
    if (theirs.end !== '') {
      if (a?.done) {
        laxer[theirs.end] = (laxer[theirs.end] ?? 0) + 1
        if (!taken[theirs.end]?.(a)) fail(`node refused request ${n} as ${theirs.end}`)
      }
      return
    }
    if (!!a !== !!b || (a && (a.done !== b.done || differs(a, b)))) return fail(`request ${n}: one understood it, one waits`)
    return
  }
})
tell({ streams, seedText, them: 'node', same, least: streams.length / 2, stricter, laxer, failures })
