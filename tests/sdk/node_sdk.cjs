// Drives the real `posthog-node` package: node node_sdk.cjs HOST TOKEN SCENARIO.
// Prints {"events": N, "by_name": {...}}: what a server must have stored when this ends.
const [host, token, scenario] = process.argv.slice(2)
const v1 = scenario.startsWith('v1')
if (v1) process.env.POSTHOG_CAPTURE_MODE = 'v1'
const kind = v1 ? scenario.slice(2) || 'basic' : scenario
const { PostHog } = require('posthog-node')

const said = {}
const problems = []
const count = name => { said[name] = (said[name] || 0) + 1 }
const ph = new PostHog(token, { host, historicalMigration: kind === 'historical' })
ph.on('error', error => problems.push(String(error)))

function capture (distinctId, event, properties, more) {
  count(event)
  ph.capture({ distinctId, event, properties, ...more })
}

const values = {
  text: 'plain', accents: 'Zażółć gęślą jaźń', script: '日本語 العربية', emoji: '👩‍🚀', cut: 'x\ud83d', quotes: 'say "hi" \\ back',
  lines: 'a\nb\tc', empty: '', nothing: null, absent: undefined, yes: true, no: false, int: 42, large: 9007199254740992,
  power: 1e21, minus: -0, tiny: 1e-9, nan: NaN, infinite: Infinity, zero_char: 'a\u0000b', separator: '\u2028',
  tree: { a: [1, { b: [null, 'c'] }] }, list: [1, 2.5, 'x', null, true], moment: new Date(Date.UTC(2024, 1, 29, 1, 2, 3, 456))
}

async function basic () {
  capture('ada', 'all values', values)
  capture('łucja-🚀', 'bare')
  capture('ada', 'sets', { $set: { plan: 'team' }, $set_once: { origin: 'ad' }, $unset: ['gone'] })
  capture('ada', 'long ago', {}, { timestamp: new Date('2021-03-04T05:06:07.089Z') })
  capture('ada', 'own id', {}, { uuid: '0190f3a1-7c0e-7cc1-9d0e-5b6a2f3c4d5f' })
  capture('ada', 'in groups', {}, { groups: { company: 'acme', team: 'core' } })
  capture('bob', 'personless', { $process_person_profile: false })
  capture('bob', 'geoip', {}, { disableGeoip: false })
  count('$identify'); ph.identify({ distinctId: 'ada', properties: { email: 'ada@example.com', age: 36, nested: { k: [1, 2] } } })
  count('$create_alias'); ph.alias({ distinctId: 'ada', alias: 'anonymous-ada' })
  count('$groupidentify'); ph.groupIdentify({ groupType: 'company', groupKey: 'acme', properties: { name: 'Acme', seats: 12 } })
}

const kinds = {
  basic,
  async batch () { for (let i = 0; i < 250; i++) capture('user-' + i % 17, 'batched', { i }) },
  async immediate () {
    for (let i = 0; i < 3; i++) { count('immediate'); await ph.captureImmediate({ distinctId: 'ada', event: 'immediate', properties: { i } }) }
  },
  async historical () { for (let i = 1; i < 4; i++) capture('ada', 'imported', { i }, { timestamp: new Date(Date.UTC(2020, 0, i)) }) },
  async exception () {
    count('$exception')
    ph.captureException(new TypeError('handled'), 'ada', { where: 'here' }) // the shutdown waits for what it has to look up first
  },
  async flags () {
    for (const key of ['first', 'second']) { count('$feature_flag_called'); await ph.getFeatureFlag(key, 'ada') }
    capture('ada', 'with flags', {}, { sendFeatureFlags: true })
  }
}

// The package's timers do not hold the process open.
const open = setInterval(() => {}, 500)
kinds[kind]().then(() => ph.shutdown(20000)).catch(error => problems.push(String(error))).then(() => {
  clearInterval(open)
  const events = Object.values(said).reduce((sum, n) => sum + n, 0)
  console.log(JSON.stringify({ events, by_name: said, problems }))
})
