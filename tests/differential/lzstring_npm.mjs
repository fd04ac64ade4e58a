// lzstring_npm.mjs DUMP FOLDER [SEED] - our LZ-string decoder beside the npm package, which is installed into FOLDER.
// What it packs we unpack to the same UTF-8 (U+FFFD in place of half a surrogate pair, as JavaScript writes it too); damaged
// texts come out the same or not at all.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'

const version = '1.5.0'
const [dump, folder, seedText = '20260203'] = process.argv.slice(2)
const home = resolve(folder, 'node_modules/lz-string')
const installed = () => existsSync(join(home, 'package.json')) && JSON.parse(readFileSync(join(home, 'package.json'))).version === version
if (!installed()) {
  mkdirSync(folder, { recursive: true })
  if (!existsSync(join(folder, 'package.json'))) writeFileSync(join(folder, 'package.json'), '{"private":true}')
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-save', `lz-string@${version}`], { cwd: folder, stdio: 'inherit' })
}
if (!installed()) throw new Error(`lz-string ${version} is not in ${home}`)
const LZString = createRequire(import.meta.url)(home)

let state = BigInt(seedText)
function chance(n) {
  state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
  return Number((state >> 33n) % BigInt(n))
}
const pick = list => list[chance(list.length)]
const alphabets = [
  ['a'], ['a', 'b'], [...'{}[]":,abcdefghij0123456789 '], ['\0', 'ÿ', 'Ā'], ['é', 'ß', '€', '漢'],
  ['😀', '😁', '🎉', 'x'], ['\ud83d', '\ude00', 'y'], ['token', 'event', '"distinct_id":', '$pageview', '😀', 'ü'],
]
function text() {
  const alphabet = pick(alphabets)
  let out = ''
  for (let n = pick([0, 1, 2, 5, 30, 300, 3000]); n > 0; n--) out += pick(alphabet)
  return out
}
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
function damage(packed) {
  const at = chance(packed.length + 1)
  switch (chance(4)) {
    case 0: return packed.slice(0, at)
    case 1: return packed.slice(0, at) + pick(digits) + packed.slice(at + 1)
    case 2: return packed.slice(0, at) + pick(digits) + pick(digits) + packed.slice(at)
    default: return Array.from({ length: chance(40) }, () => pick(digits)).join('')
  }
}
const cases = []
for (let i = 0; i < 1500; i++) {
  const plain = text(), packed = LZString.compressToBase64(plain)
  cases.push({ packed, plain })
  for (let n = 0; n < 5; n++) cases.push({ packed: damage(packed) })
}

const frames = Buffer.concat(cases.flatMap(({ packed }) => {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(packed.length)
  return [head, Buffer.from(packed, 'latin1')]
}))
const run = spawnSync(dump, ['lzstring', String(8 << 20)], { input: frames, maxBuffer: 1 << 30 })
if (run.status !== 0) throw new Error(run.stderr.toString())
const answers = run.stdout.toString().trimEnd().split('\n')

function theirs(packed) {
  try {
    return LZString.decompressFromBase64(packed)
  } catch {
    return null
  }
}
// The first number is 3, which is neither a unit nor the end; the package then goes on with `undefined` as text.
const noFirstUnit = packed => digits.indexOf(packed[0]) >= 48
let same = 0, refused = 0
const failures = []
cases.forEach(({ packed, plain }, i) => {
  const [word, hex = ''] = answers[i].split(' ')
  const want = theirs(packed)
  if (plain !== undefined && want !== plain && plain !== '') throw new Error('lz-string does not know its own text')
  if (word === 'ok' && hex === Buffer.from(want ?? '\0no', 'utf8').toString('hex')) same++
  else if (word === 'bad' && (!want || noFirstUnit(packed) || /=[^=]/.test(packed))) refused++
  else failures.push(`${JSON.stringify(packed.slice(0, 200))}: ours ${word} ${hex.slice(0, 100)}, theirs ${JSON.stringify(want)?.slice(0, 100)}`)
})
console.log(`${cases.length} texts, seed ${seedText}: ${same} alike, ${refused} refused by both or no text`)
if (failures.length > 0 || same < 1000) {
  console.log(failures.slice(0, 10).join('\n'))
  console.log(`${failures.length} differences`)
  process.exit(1)
}
