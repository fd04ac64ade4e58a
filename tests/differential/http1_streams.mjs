// http1_streams.mjs - byte streams for the comparisons of HTTP parsers: valid requests, pipelined, with what an attacker does
// to them; and what our parser (http1_dump) makes of them.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

// --- chance, the same on every machine -------------------------------------------------------------------------------
let state
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
export function makeStreams(count, seedText) {
  const streams = []
  state = BigInt(seedText)
  for (let i = 0; i < Number(count); i++) {
    let text = ''
    for (let n = 1 + chance(3); n > 0; n--) text += chance(20) === 0 ? '\r\n' + request() : request()
    for (let n = chance(4); n > 0; n--) text = mutate(text)
    streams.push(bytes(text))
  }
  return streams
}

// --- ours ------------------------------------------------------------------------------------------------------------
export function byOurs(dump, streams) {
  const frames = Buffer.concat(streams.flatMap(s => { const head = Buffer.alloc(4); head.writeUInt32LE(s.length); return [head, s] }))
  const run = spawnSync(dump, [], { input: frames, maxBuffer: 1 << 30 })
  if (run.status !== 0) {
    console.error(run.stderr.toString())
    process.exit(1)
  }
  const latin = hex => Buffer.from(hex, 'hex').toString('latin1')
  return run.stdout.toString().trimEnd().split('\n').map(line => {
    const answer = JSON.parse(line)
    for (const r of answer.requests) {
      r.target = latin(r.target)
      r.headers = r.headers.map(([name, value]) => [latin(name).toLowerCase(), latin(value)])
      r.chunked = r.headers.some(([name]) => name === 'transfer-encoding')
    }
    return answer
  })
}

// The code words of the tables in the page: what we refuse and others take.
export function listedRefusals() {
  const page = join(dirname(fileURLToPath(import.meta.url)), '../../docs/decisions/http-strictness.md')
  return new Set([...readFileSync(page, 'utf8').matchAll(/^\| `(\w+)` \|/gm)].map(match => match[1]))
}

// What Connection says, all of them.
export const connection = request => request.headers.filter(([name]) => name === 'connection').map(([, value]) => value).join()

// What a comparison found, printed; the process fails when something differs, or when less than `least` requests were compared.
export function tell({ streams, seedText, them, same, least, stricter, laxer, failures }) {
  console.log(`${streams.length} streams, seed ${seedText}: ${same} requests understood alike`)
  console.log('refused by us alone:', stricter)
  console.log(`refused by ${them} alone:`, laxer)
  if (failures.length > 0) {
    console.log(failures.slice(0, 10).join('\n\n'))
    console.log(`${failures.length} differences`)
    process.exit(1)
  }
  if (same < least) {
    console.log('too few requests were compared')
    process.exit(1)
  }
}
