// Drives Segment's and RudderStack's browser SDKs in headless Chromium: node segment_browser.cjs HOST WRITE_KEY SCENARIO SDK FOLDER
// SCENARIO retries: the user is named while the first messages may still be sent again, and then they are sent in that name;
// retries-named-later: not before they were taken.
// FOLDER holds the SDK's own scripts, which the page loads as they are. Prints {"events": N, "by_name": {...}, "anonymous": id}.
const fs = require('fs')
const http = require('http')
const path = require('path')
const { chromium } = require('playwright-core')

const [host, key, scenario, sdk, folder] = process.argv.slice(2)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const names = { identify: '$identify', page: '$pageview', screen: '$screen', group: '$groupidentify', alias: '$create_alias' }
const said = {}

// What a page has to say to have its events sent here, and nothing else. `settings` says nothing but where the settings are.
const segment = {
  settings: [{ writeKey: key, cdnURL: host }, {}],
  retries: [{ writeKey: key, cdnURL: host }, {}],
  'retries-named-later': [{ writeKey: key, cdnURL: host }, {}],
  host: [{ writeKey: key, cdnURL: host }, { integrations: { 'Segment.io': { apiHost: host.slice(7) + '/v1', protocol: 'http' } } }],
  batching: [{ writeKey: key, cdnURL: host }, { integrations: { 'Segment.io': { deliveryStrategy: { strategy: 'batching', config: { size: 4, timeout: 300 } } } } }],
  leave: [{ writeKey: key, cdnURL: host }, { integrations: { 'Segment.io': { deliveryStrategy: { strategy: 'batching', config: { size: 50, timeout: 60000 } } } } }]
}
const rudder = {
  host: { configUrl: host },
  retries: { configUrl: host },
  'retries-named-later': { configUrl: host },
  batching: { configUrl: host, queueOptions: { batch: { enabled: true, maxItems: 4, flushInterval: 300 } } },
  leave: { configUrl: host, useBeacon: true }
}

const start = sdk === 'segment'
  ? `const [settings, options] = ${JSON.stringify(segment[scenario])}
     window.sdk = AnalyticsNext.AnalyticsBrowser.load(settings, options)
     window.anonymous = async () => (await sdk.user()).anonymousId()`
  : `window.sdk = new rudderanalytics.RudderAnalytics()
     sdk.load(${JSON.stringify(key)}, ${JSON.stringify(host)}, ${JSON.stringify({ logLevel: 'ERROR', ...rudder[scenario] })})
     window.anonymous = async () => sdk.getAnonymousId()`
const page = title => `<!doctype html><meta charset="utf-8"><title>${title} – strona</title><script src="/sdk/index.js"></script>
<script>${start}</script><h1>${title}</h1>`

const server = http.createServer((request, response) => {
  const where = request.url.split('?')[0]
  if (where.startsWith('/sdk/')) {
    response.setHeader('Content-Type', 'application/javascript')
    response.end(fs.readFileSync(path.join(folder, path.basename(where))))
    return
  }
  response.setHeader('Content-Type', 'text/html; charset=utf-8')
  response.end(where === '/blank' ? '<!doctype html><title>blank</title>' : page(where))
})

async function call (tab, type, ...args) {
  const name = names[type] || args[0]
  said[name] = (said[name] || 0) + 1
  await tab.evaluate(([type, args]) => { sdk[type](...args) }, [type, args])
}

// A minute at most: what does not come then is missed by the test.
async function until (what) {
  for (let tries = 0; tries < 600 && !await what(); tries++) await pause(100)
}

// How many events the server has heard of. It has no other sender.
async function received () {
  const found = (await (await fetch(host + '/metrics')).text()).match(/^capture_events_received_total\{[^}]*\} (\d+)/m)
  return found ? Number(found[1]) : 0
}

async function main () {
  if (!(sdk === 'segment' ? segment : rudder)[scenario]) throw new Error('no scenario ' + scenario)
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const origin = 'http://localhost:' + server.address().port
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync']
  })
  const context = await browser.newContext({
    ignoreHTTPSErrors: true, // a test's certificate is nobody's
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36'
  })
  const tab = await context.newPage()
  const problems = []
  tab.on('pageerror', error => problems.push(String(error)))
  if (process.env.SDK_DEBUG) {
    tab.on('console', message => console.error('console', message.text()))
    tab.on('request', request => console.error(request.method(), request.url(), request.postData()))
    tab.on('response', response => console.error(response.status(), response.url()))
  }
  const answered = new Set() // ids of messages that were taken
  tab.on('response', response => {
    if (response.status() === 200)
      for (const [, id] of (response.request().postData() || '').matchAll(/"messageId":"([^"]+)"/g)) answered.add(id)
  })
  await tab.goto(origin + '/one?utm_source=letter&utm_campaign=spring')
  await pause(800)
  const anonymous = await tab.evaluate(() => window.anonymous())
  await call(tab, 'page', 'Shop', 'One')
  await call(tab, 'track', 'seen before', {
    text: 'plain', accents: 'Zażółć', emoji: '👩‍🚀', quotes: 'say "hi" \\', empty: '', nothing: null, yes: true, int: 42,
    large: 9007199254740992, power: 1e21, tree: { a: [1, { b: 'c' }] }
  })
  await pause(300) // Segment's SDK names the user when it sends, not when it is called
  if (scenario !== 'leave') await until(() => scenario === 'retries' || answered.size >= 2)
  await call(tab, 'identify', 'ada', { email: 'ada@example.com', age: 36 })
  await call(tab, 'track', 'bought', { price: 12.5 })
  await call(tab, 'group', 'acme', { name: 'Acme', seats: 12 })
  await call(tab, 'alias', 'ada', 'older-ada')
  if (sdk === 'segment') {
    await call(tab, 'screen', 'Main')
    await call(tab, 'track', 'in group', {}, { context: { groupId: 'acme' } })
  } else await call(tab, 'track', 'in group', {}, { groupId: 'acme' })
  const count = Object.values(said).reduce((sum, n) => sum + n, 0)
  if (scenario === 'leave') await pause(100)
  else await until(() => answered.size >= count)
  await tab.goto(origin + '/blank')
  if (scenario === 'leave') await until(async () => await received() >= count)
  await browser.close()
  server.close()
  console.log(JSON.stringify({ events: Object.values(said).reduce((sum, n) => sum + n, 0), by_name: said, anonymous, problems }))
}

main().catch(error => { console.error(error); process.exit(1) })
