// http1_node.mjs DUMP [COUNT] [SEED] - our HTTP parser (http1_dump) beside node's (llhttp, strict flags) on the same
// byte streams: valid requests, pipelined, with what an attacker does to them. A stream that both accept must mean the
// same to both: methods, targets, headers, bodies, where the next request begins. Where we refuse what node takes, the
// code word must be one that docs/decisions/http-strictness.md lists; where node refuses what we take, the case must
// be one of `ours` below.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const { HTTPParser, methods: nodeMethods } = createRequire(import.meta.url)('_http_common')
const [dump, count = '12000', seedText = '20260203'] = process.argv.slice(2)

// --- chance, the same on every machine -------------------------------------------------------------------------------
let state = BigInt(seedText)
function chance(n) {
  state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
  return Number((state >> 33n) % BigInt(n))
}
const pick = list => list[chance(list.length)]

// --- streams ---------------------------------------------------------------------------------------------------------
const bytes = text => Buffer.from(text, 'latin1')
const methods = ['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']
const targets = ['/', '/e/', '/batch?compression=gzip', '/e/?ip=1&_=1&ver=2', 'http://b.example/x?y', '/%7b%7d', '/a//b/../c']
const headers = [
  'User-Agent: x/1', 'Accept: */*', 'Content-Type: application/json', 'Origin: https://shop.example', 'Connection: keep-alive',
  'X-Forwarded-For: 1.2.3.4, 5.6.7.8', 'Cookie: a=b; c=d', 'X-Empty:', 'X-Tab:\ta\tb\t', 'X-High: \xe4\xff', 'Expect: 100-continue',
  'X:y', 'Accept-Encoding: gzip, deflate', 'Connection: close', 'Content_Length: 9', 'Transfer_Encoding: chunked', 'TE: trailers',
]
function body() {
  const length = pick([0, 1, 5, 16, 300])
  return Array.from({ length }, () => pick(['{', '"', 'a', '0', '\r', '\n', 'GET / HTTP/1.1\r\n', '\x00', '\xff'])).join('')
}
function chunked(text) {
  let out = ''
  for (let at = 0; at < text.length;) {
    const size = 1 + chance(20)
    const part = text.slice(at, at + size)
    out += pick([part.length.toString(16), part.length.toString(16).toUpperCase(), '0' + part.length.toString(16)])
    out += pick(['', '', '', ';a=b', ';a="b;c"']) + '\r\n' + part + '\r\n'
    at += size
  }
  return out + '0' + pick(['', '', ';last']) + '\r\n' + pick(['', '', 'X-Trailer: 1\r\n', 'Content-Length: 3\r\n']) + '\r\n'
}
function request() {
  const lines = ['Host: a.example']
  for (let n = chance(5); n > 0; n--) lines.splice(chance(lines.length + 1), 0, pick(headers))
  const kind = chance(3)
  const text = kind === 0 ? '' : body()
  if (kind === 1) lines.splice(chance(lines.length + 1), 0, pick(['Content-Length: ', 'content-length:', 'CONTENT-LENGTH:  ']) + text.length)
  if (kind === 2) lines.splice(chance(lines.length + 1), 0, pick(['Transfer-Encoding: chunked', 'transfer-encoding:Chunked']))
  const method = kind === 0 ? pick(methods) : pick(['POST', 'POST', 'PUT', 'PATCH', 'GET'])
  const version = chance(12) === 0 && kind !== 2 ? '1.0' : '1.1'
  return `${method} ${pick(targets)} HTTP/${version}\r\n${lines.join('\r\n')}\r\n\r\n` + (kind === 1 ? text : kind === 2 ? chunked(text) : '')
}
const pieces = [
  '\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ',', ';', '+', '-', '_', '0x', '0', '5', '\x0b', '\x0c', '\x1f', '\x7f', '\x80', '\xa0', '"', '/', '@',
  'Content-Length: 5\r\n', 'Content-Length: 5, 5\r\n', 'Content-Length: +5\r\n', 'Content-Length : 5\r\n', 'Content-Length: 5 \r\n',
  'Content-Length:\x0b5\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding: gzip, chunked\r\n', 'Transfer-Encoding: chunked, gzip\r\n', 'Transfer-Encoding:\tchunked\r\n',
  'Transfer-Encoding: "chunked"\r\n', 'Transfer-Encoding: xchunked\r\n', 'Transfer-Encoding: chunked\r\n foo\r\n', ' folded\r\n', 'X: y\r\n',
  'Host: c.example\r\n', 'HTTP/1.0', 'HTTP/1.1', 'HTTP/2.0', 'GET ', 'get ', 'PROPFIND ', 'TRACE ', 'Upgrade: h2c\r\nConnection: Upgrade\r\n',
  'Connection: close\r\n', 'Connection: keep-alive, close\r\n', 'ffffffffffffffff', '00000000000000000001', '0\r\n\r\n', 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n',
]
function mutate(text) {
  const at = [chance(text.length + 1), chance(Math.min(text.length, 300) + 1), lineStart(text)][chance(3)]
  switch (chance(6)) {
    case 0: return text.slice(0, at) + text.slice(at + 1 + chance(3))
    case 1: return text.slice(0, at) + pick(pieces) + text.slice(at + 1)
    case 2: { const end = at + chance(30); return text.slice(0, end) + text.slice(at, end) + text.slice(end) }
    case 3: return text.slice(0, at) // cut off
    default: return text.slice(0, at) + pick(pieces) + text.slice(at)
  }
}
function lineStart(text) {
  const starts = [0]
  for (let at = text.indexOf('\r\n'); at >= 0; at = text.indexOf('\r\n', at + 1)) starts.push(at + 2)
  return pick(starts)
}
const streams = []
for (let i = 0; i < Number(count); i++) {
  let text = ''
  for (let n = 1 + chance(3); n > 0; n--) text += chance(20) === 0 ? '\r\n' + request() : request()
  for (let n = chance(4); n > 0; n--) text = mutate(text)
  streams.push(bytes(text))
}

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

// --- ours ------------------------------------------------------------------------------------------------------------
const frames = Buffer.concat(streams.flatMap(s => { const head = Buffer.alloc(4); head.writeUInt32LE(s.length); return [head, s] }))
const run = spawnSync(dump, [], { input: frames, maxBuffer: 1 << 30 })
if (run.status !== 0) {
  console.error(run.stderr.toString())
  process.exit(1)
}
const latin = hex => Buffer.from(hex, 'hex').toString('latin1')
const ours = run.stdout.toString().trimEnd().split('\n').map(line => {
  const answer = JSON.parse(line)
  for (const r of answer.requests) {
    r.target = latin(r.target)
    r.headers = r.headers.map(([name, value]) => [latin(name).toLowerCase(), latin(value)])
    r.chunked = r.headers.some(([name]) => name === 'transfer-encoding')
  }
  return answer
})

// --- comparison ------------------------------------------------------------------------------------------------------
const listed = new Set([...readFileSync(join(dirname(fileURLToPath(import.meta.url)), '../../docs/decisions/http-strictness.md'), 'utf8')
  .matchAll(/^\| `(\w+)` \|/gm)].map(match => match[1]))
// What node refuses and we take, by its error code; why each is no gap stands in docs/decisions/http-strictness.md.
const taken = {
  // Content-Length or Transfer-Encoding among the trailers: we drop trailers, so nothing depends on them
  HPE_INVALID_CONTENT_LENGTH: request => request.chunked,
  HPE_INVALID_TRANSFER_ENCODING: request => request.chunked,
}
const stricter = {}, laxer = {}, failures = []
let same = 0

const connection = request => request.headers.filter(([name]) => name === 'connection').map(([, value]) => value).join()

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
console.log(`${streams.length} streams, seed ${seedText}: ${same} requests understood alike`)
console.log('refused by us alone:', stricter)
console.log('refused by node alone:', laxer)
if (failures.length > 0) {
  console.log(failures.slice(0, 10).join('\n\n'))
  console.log(`${failures.length} differences`)
  process.exit(1)
}
if (same < streams.length / 2) {
  console.log('too few requests were compared')
  process.exit(1)
}
