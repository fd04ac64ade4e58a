// http1_nginx.mjs DUMP [COUNT] [SEED] - our HTTP parser (http1_dump) beside nginx: the streams of http1_node.mjs over real
// connections to a real nginx, which passes on what it understood to a backend here. A request that both accept must be
// the same to both: method, target, headers that nginx passes on, body; and the next one must begin where it begins for us.
// What only one of them takes must be listed: ours in docs/decisions/http-strictness.md, nginx's in `taken` below.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { byOurs, connection, listedRefusals, makeStreams, tell } from './http1_streams.mjs'

const [dump, count = '3000', seedText = '20260203'] = process.argv.slice(2)
const program = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(path => existsSync(path))
if (!program) {
  console.log('nginx is not installed: `./dev test` installs it (Debian: nginx-light)')
  process.exit(1)
}
const AT_ONCE = 32
const folder = mkdtempSync(join(tmpdir(), 'penstock-nginx-'))
const streams = makeStreams(count, seedText)
const ours = byOurs(dump, streams)

// --- what nginx passes on --------------------------------------------------------------------------------------------
const understood = new Map() // stream -> requests, in order
function take(text) {
  const [head] = text.split('\r\n\r\n', 1)
  const [line, ...fields] = head.split('\r\n')
  const [method, target] = line.split(' ')
  const headers = fields.map(field => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)])
  const stream = Number(headers.find(([name]) => name === 'x-stream-port')[1])
  const body = text.slice(head.length + 4)
  if (!understood.has(stream)) understood.set(stream, [])
  understood.get(stream).push({ method, target, headers, body: Buffer.from(body, 'latin1').toString('hex') })
}
const backend = createServer({ allowHalfOpen: true }, socket => {
  let text = ''
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('data', piece => {
    text += piece
    const end = text.indexOf('\r\n\r\n')
    const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))
    if (end < 0 || text.length < end + 4 + Number(length?.[1] ?? 0)) return
    take(text)
    socket.end('HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX-From: backend\r\n\r\nok')
  })
})
const backendPath = join(folder, 'backend')
await new Promise(done => backend.listen(backendPath, done))

// --- nginx, as it is: what its defaults pass over, it passes over ------------------------------------------------------
const front = join(folder, 'front')
const probe = createServer()
const port = await new Promise(done => probe.listen(0, '127.0.0.1', () => done(probe.address().port)))
await new Promise(done => probe.close(done))
writeFileSync(front, `
daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/log crit;
events { worker_connections 512; }
http {
  access_log off; client_max_body_size 0; lingering_close off; proxy_ignore_client_abort on; # the end of a stream is no abort
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://unix:${backendPath};
      proxy_set_header Host $http_host;
      proxy_set_header X-Stream-Port $remote_port;
    }
  }
}
`)
const nginx = spawn(program, ['-c', front, '-p', folder], { stdio: ['ignore', 'inherit', 'inherit'] })
const gone = new Promise(done => nginx.on('exit', done))
for (let tries = 0; ; tries++) {
  const up = await new Promise(done => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); done(true) })
    socket.on('error', () => done(false))
  })
  if (up) break
  if (tries > 400) throw new Error('nginx does not start')
  await new Promise(done => setTimeout(done, 50))
}

// --- one stream ------------------------------------------------------------------------------------------------------
// The statuses of its answers; how many requests came through is known when the connection has ended.
function byNginx(stream) {
  return new Promise(done => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let text = '', mine
    socket.setEncoding('latin1')
    socket.on('connect', () => { mine = socket.localPort; socket.write(stream); socket.end() })
    socket.on('data', piece => { text += piece })
    socket.on('error', () => {})
    socket.on('close', () => {
      const statuses = [...text.matchAll(/HTTP\/1\.[01] (\d\d\d) /g)].map(match => Number(match[1])).filter(status => status !== 100)
      done({ port: mine, statuses })
    })
  })
}
const theirs = new Array(streams.length)
let turn = 0
async function worker() {
  while (turn < streams.length) {
    const number = turn++
    const answer = await byNginx(streams[number])
    theirs[number] = { requests: understood.get(answer.port) ?? [], refused: answer.statuses.filter(status => status !== 200)[0] ?? 0 }
    understood.delete(answer.port) // the port may come again
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker))
nginx.kill('SIGTERM')
await gone
backend.close()
rmSync(folder, { recursive: true, force: true })

// --- comparison ------------------------------------------------------------------------------------------------------
const listed = listedRefusals()
const stricter = {}, laxer = {}, failures = []
let same = 0

// Of an address nginx passes on what follows the host.
const path = target => target.replace(/^http:\/\/[^/?#]*/i, '').replace(/^(?=\?|$)/, '/')
// Not passed on, or made anew: what speaks of the connection; names with an underscore or that are none, empty values.
const hop = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'expect', 'upgrade', 'keep-alive', 'te', 'x-stream-port'])
const passed = headers => headers.filter(([name, value]) => !hop.has(name) && /^[a-z0-9-]+$/.test(name) && value !== '')
// nginx takes a tab at the end of a value for a part of it.
const text = headers => passed(headers.map(([name, value]) => [name, value.replace(/^[ \t]+|[ \t]+$/g, '')])).map(pair => pair.join(': ')).sort().join('\n')

function differs(mine, its) {
  if (mine.method !== its.method) return `method ${mine.method} / ${its.method}`
  if (path(mine.target) !== its.target) return `target ${mine.target} / ${its.target}`
  if (text(mine.headers) !== text(its.headers)) return `headers\n${text(mine.headers)}\n/\n${text(its.headers)}`
  if (mine.body !== its.body) return `body ${mine.body} / ${its.body}`
}

// What nginx refuses or does not wait for, and we take: its status -> whether this request is of that kind; why each is no
// gap stands in docs/decisions/http-strictness.md.
const twice = request => new Set(request.headers.map(([name]) => name)).size < request.headers.length
const hostsOf = request => [request.target.match(/^http:\/\/([^/?#]*)/i)?.[1], ...request.headers.filter(([name]) => name === 'host').map(([, value]) => value)]
const oddHost = request => hostsOf(request).some(host => host !== undefined && (host === '' || /[^a-z0-9.:[\]-]|\.\./i.test(host)))
const badEscape = request => /%(?![0-9a-f]{2})|%00/i.test(request.target.split('?')[0])
const tabAtHost = stream => /\nhost:[^\r\n]*\t/i.test(stream.toString('latin1'))
const taken = {
  400: (request, stream) => twice(request) || oddHost(request) || badEscape(request) || tabAtHost(stream),
  0: (_request, _stream, before) => before !== undefined && /close/i.test(connection(before)),
}

streams.forEach((stream, i) => {
  const mine = ours[i], its = theirs[i]
  const fail = why => failures.push(`stream ${i}: ${why}\n${JSON.stringify(stream.toString('latin1'))}\nours ${mine.end || 'right'}, nginx ${its.refused || 'right'}`)
  for (let n = 0; ; n++) {
    const a = mine.requests[n]?.done ? mine.requests[n] : undefined, b = its.requests[n]
    if (a && b) {
      const why = differs(a, b)
      if (why) return fail(`request ${n}: ${why}`)
      same++
      if (!a.keep) { // for nginx the last Connection counts, and keep-alive as part of a word
        if (its.requests.length > n + 1 && !/keep-alive/i.test(connection(a))) return fail(`nginx goes on behind request ${n}, where we close`)
        return
      }
      continue
    }
    if (b) { // refused here, or still waiting for bytes that nginx does not need
      const code = mine.end || 'waits'
      stricter[code] = (stricter[code] ?? 0) + 1
      if (!listed.has(code)) fail(`nginx took request ${n}, which is ${code} here`)
      return
    }
    if (a) {
      laxer[its.refused] = (laxer[its.refused] ?? 0) + 1
      if (!taken[its.refused]?.(a, stream, mine.requests[n - 1])) fail(`nginx refused request ${n} with ${its.refused}: ${a.method} ${a.target}`)
    }
    return
  }
})
tell({ streams, seedText, them: 'nginx', same, least: streams.length / 4, stricter, laxer, failures })
