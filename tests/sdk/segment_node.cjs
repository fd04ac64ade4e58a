// Drives Segment's and RudderStack's Node SDKs: node segment_node.cjs HOST WRITE_KEY SCENARIO SDK
// Prints {"events": N, "by_name": {...}}: what a server must have stored when this ends, by the names of the rows.
const [host, key, scenario, sdk] = process.argv.slice(2)
const said = {}
const problems = []
const names = { identify: '$identify', page: '$pageview', screen: '$screen', group: '$groupidentify', alias: '$create_alias' }

const values = {
  text: 'plain', accents: 'Zażółć gęślą jaźń', script: '日本語 العربية', emoji: '👩‍🚀', cut: 'x\ud83d', quotes: 'say "hi" \\ back',
  lines: 'a\nb\tc', empty: '', nothing: null, yes: true, no: false, int: 42, large: 9007199254740992,
  power: 1e21, tiny: 1e-9, zero_char: 'a\u0000b', separator: '\u2028', tree: { a: [1, { b: [null, 'c'] }] }, list: [1, 2.5, 'x', null, true]
}

let send, end
if (sdk === 'segment') {
  const { Analytics } = require('@segment/analytics-node')
  const analytics = new Analytics({ writeKey: key, host, maxRetries: 6, flushAt: scenario === 'single' ? 1 : 5, flushInterval: 200 })
  analytics.on('error', error => problems.push(String(error.reason || error.code)))
  send = (type, message) => analytics[type](message)
  end = () => analytics.closeAndFlush({ timeout: 60000 })
} else {
  const Analytics = require('@rudderstack/rudder-sdk-node')
  // A batch that is still on its way is sent again by the package's own HTTP client.
  const analytics = new Analytics(key, { dataPlaneUrl: host, flushAt: scenario === 'single' ? 1 : 5, flushInterval: 200, logLevel: 'none',
    gzip: scenario !== 'plain', retryCount: 6 })
  let waiting = 0
  send = (type, message) => {
    waiting++
    analytics[type](message, error => { waiting--; if (error) problems.push(String(error)) })
  }
  end = async () => {
    for (let i = 0; i < 600 && waiting > 0; i++) {
      await analytics.flush().catch(error => problems.push(String(error)))
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    if (waiting > 0) problems.push(waiting + ' without an answer')
  }
}

function call (type, message) {
  const name = names[type] || message.event
  said[name] = (said[name] || 0) + 1
  send(type, message)
}

const kinds = {
  basic () {
    call('track', { anonymousId: 'anonymous-ada', event: 'seen before', properties: values })
    call('identify', { userId: 'ada', anonymousId: 'anonymous-ada', traits: { email: 'ada@example.com', age: 36, nested: { k: [1, 2] } } })
    call('track', { userId: 'ada', event: 'bought', properties: { price: 12.5 }, context: { ip: '8.8.8.8', locale: 'pl-PL' } })
    call('track', { userId: 'łucja-🚀', event: 'bare' })
    call('page', { userId: 'ada', name: 'Home', properties: { url: 'https://shop.example/home?x=1', title: 'Home' } })
    call('screen', { userId: 'ada', name: 'Main', properties: {} })
    call('group', { userId: 'ada', groupId: 'acme', traits: { name: 'Acme', seats: 12 } })
    call('track', { userId: 'ada', event: 'in group', context: { groupId: 'acme' } })
    call('alias', { userId: 'ada', previousId: 'older-ada' })
    call('track', { userId: 'ada', event: 'long ago', timestamp: new Date('2021-03-04T05:06:07.089Z') })
  },
  batch () { for (let i = 0; i < 250; i++) call('track', { userId: 'user-' + (i % 17), event: 'batched', properties: { i } }) }
}
kinds.single = kinds.retries = kinds.plain = kinds.basic

kinds[scenario]()
end().catch(error => problems.push(String(error))).then(() => {
  console.log(JSON.stringify({ events: Object.values(said).reduce((sum, n) => sum + n, 0), by_name: said, problems }))
  process.exit(0)
})
