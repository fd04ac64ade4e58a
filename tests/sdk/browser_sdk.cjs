// Drives a real posthog-js bundle in headless Chromium: node browser_sdk.cjs HOST TOKEN SCENARIO BUNDLE.js
// Prints {"events": N, "by_name": {...}}: what the page's SDK captured, counted by its own hook.
const fs = require('fs')
const http = require('http')
const { chromium } = require('playwright-core')

const [host, token, scenario, bundle] = process.argv.slice(2)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const options = {
  basic: {},
  plain: { disable_compression: true },
  unbatched: { request_batching: false },
  xhr: { api_transport: 'XHR' },
  leave: {},
  identified: { person_profiles: 'identified_only' },
  cookieless: { cookieless_mode: 'always' },
  exception: { capture_exceptions: true },
  vitals: { capture_performance: { web_vitals: true }, enable_heatmaps: true },
  batch: { rate_limiting: { events_per_second: 1000, events_burst_limit: 1000 }, autocapture: false, capture_pageview: false, capture_pageleave: false }
}[scenario]
if (!options) throw new Error('no scenario ' + scenario)
const config = {
  api_host: host, opt_out_useragent_filter: true, disable_surveys: true, disable_session_recording: true, ...options
}

// Newer versions tell each event to before_send, older ones its name to _onCapture: the page has both.
const page = title => `<!doctype html><meta charset="utf-8"><title>${title} – strona</title>
<script>
  function note (name) {
    const said = JSON.parse(localStorage.said || '{}')
    said[name] = (said[name] || 0) + 1
    localStorage.said = JSON.stringify(said)
  }
  const config = ${JSON.stringify(config)}
  if (${/before_send/.test(fs.readFileSync(bundle, 'utf8'))}) config.before_send = event => { if (event) note(event.event); return event }
  else config._onCapture = note
  window.posthog = []; posthog._i = [[${JSON.stringify(token)}, config, 'posthog']]; posthog.people = []; posthog.__SV = 1
</script><script src="/sdk.js"></script>
<h1>${title}</h1><button id="pay" class="large primary" data-plan="team">Pay <b>now</b> 🚀</button>
<a id="on" href="/two?utm_source=letter&utm_campaign=spring">On</a>
<form><input id="name" name="name"><input type="password" name="secret" value="hunter2"><button id="ok" type="button">OK</button></form>`

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0]
  response.setHeader('Content-Type', path === '/sdk.js' ? 'application/javascript' : 'text/html; charset=utf-8')
  response.end(path === '/sdk.js' ? fs.readFileSync(bundle) : path === '/blank' ? '<!doctype html><title>blank</title>' : page(path))
})

// How many events the server has heard of. It has no other sender.
async function received () {
  const found = (await (await fetch(host + '/metrics')).text()).match(/^capture_events_received_total\{[^}]*\} (\d+)/m)
  return found ? Number(found[1]) : 0
}

// Until all that was captured has arrived: a request that is under way when its page is left would be cut. A minute at most: what does
// not come then is missed by the test.
async function arrived (tab) {
  const said = JSON.parse(await tab.evaluate(() => localStorage.said || '{}'))
  const count = Object.values(said).reduce((sum, n) => sum + n, 0)
  for (let tries = 0; tries < 600 && await received() < count; tries++) await pause(100)
  return said
}

async function use (tab) {
  await tab.evaluate(() => {
    posthog.capture('all values', {
      text: 'plain', accents: 'Zażółć', emoji: '👩‍🚀', cut: '\ud83dx', quotes: 'say "hi" \\', empty: '', nothing: null, absent: undefined,
      yes: true, int: 42, large: 9007199254740992, power: 1e21, nan: NaN, tree: { a: [1, { b: 'c' }] }, form: 'a&b=c+d%20e'
    })
    posthog.register({ always: 'here' })
    posthog.capture('sets', { $set: { plan: 'team' }, $set_once: { origin: 'ad' } })
    posthog.capture('long ago', {}, { timestamp: new Date('2021-03-04T05:06:07.089Z') })
  })
  if (scenario !== 'cookieless') {
    await tab.evaluate(() => {
      posthog.identify('ada@example.com', { email: 'ada@example.com', age: 36 }, { first: '2024-01-01' })
      posthog.group('company', 'acme', { name: 'Acme', seats: 12 })
      posthog.alias('anonymous-ada')
      posthog.capture('after identify')
    })
  }
  await tab.click('#pay')
  await tab.fill('#name', 'Ada')
  for (let i = 0; i < 4; i++) await tab.click('#ok')
  if (scenario !== 'leave') await arrived(tab) // the queue is sent every 3 s
  // A request that a leaving page has under way is cut by the browser; without a queue the click's own would be.
  if (scenario === 'unbatched') await tab.goto(new URL('/two?utm_source=letter', tab.url()).href)
  else await tab.click('#on')
  await tab.waitForURL('**/two**')
  await pause(800)
  if (scenario === 'basic') await arrived(tab)
}

async function main () {
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const origin = 'http://localhost:' + server.address().port
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-blink-features=AutomationControlled']
  })
  const context = await browser.newContext({
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36'
  })
  const tab = await context.newPage()
  await tab.goto(origin + '/one?utm_source=first')
  await tab.waitForFunction(() => window.posthog && posthog.__loaded, null, { timeout: 60000 })
  await pause(1000)
  if (scenario === 'batch') {
    await tab.evaluate(() => { for (let i = 0; i < 250; i++) posthog.capture('batched', { i }) })
    await arrived(tab)
  } else if (scenario === 'exception') {
    await tab.evaluate(() => {
      if (posthog.captureException) posthog.captureException(new TypeError('handled'), { where: 'here' })
      setTimeout(() => { throw new RangeError('thrown') }, 0)
    })
    await pause(800)
    await arrived(tab)
  } else await use(tab)
  await tab.goto(origin + '/blank')
  const said = await arrived(tab)
  await browser.close()
  server.close()
  console.log(JSON.stringify({ events: Object.values(said).reduce((sum, n) => sum + n, 0), by_name: said }))
}

main().catch(error => { console.error(error); process.exit(1) })
