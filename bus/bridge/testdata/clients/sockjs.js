// The checks of a client of the SockJS bridge: node sockjs.js PACKAGE URL. Each prints its
// name; the bridge behind the URL is that of TestClients.
const { createRequire } = require('module')
const [pkg, url] = process.argv.slice(2)
const EventBus = createRequire(process.cwd() + '/')(pkg)
const fail = why => { console.log('FAILED', why); process.exit(1) }
setTimeout(() => fail('not done within 20 s'), 20000).unref()
const ok = (name, is, got) => is ? console.log('ok', name) : fail(name + ': ' + JSON.stringify(got))
const ask = (eb, address, body, headers) => new Promise(r => eb.send(address, body, headers || {}, (err, m) => r([err, m])))

const eb = new EventBus(url, { vertxbus_ping_interval: 200 })
const other = new EventBus(url)
let ready = 0
const errors = []
eb.onerror = e => errors.push(e)
eb.onopen = other.onopen = () => { if (++ready == 2) main().catch(e => fail(e.stack)) }

async function main() {
  ok('open', true)
  let [err, m] = await ask(eb, 'echo', { text: '𝄞 <&> \u2028' }, { a: 'b' })
  ok('echo', !err && m.body.text === '𝄞 <&> \u2028' && m.headers.a === 'b', [err, m]);
  [err, m] = await ask(eb, 'fail', 1)
  ok('failure', err && err.failureType === 'RECIPIENT_FAILURE' && err.failureCode === 42 && err.message === 'no', err);
  [err, m] = await ask(eb, 'nobody', 1)
  ok('no handlers', err && err.failureType === 'NO_HANDLERS', err);
  [err, m] = await ask(eb, 'silent', 1, { timeout: 100 })
  ok('timeout', err && err.failureType === 'TIMEOUT', err)
  eb.send('forbidden', 1)
  while (errors.length == 0) await new Promise(r => setTimeout(r, 5))
  ok('denied', errors[0].body === 'access_denied', errors)
  const large = 'x'.repeat(500000);
  [err, m] = await ask(eb, 'echo', large)
  ok('large', !err && m.body === large, err)

  const heard = new Promise(r => eb.registerHandler('x', (err, m) => r(m)));
  await ask(eb, 'echo', 1) // behind it
  other.publish('x', { n: 1 })
  ok('publish', (await heard).body.n === 1)

  eb.registerHandler('y', (err, m) => m.reply('answer to ' + m.body));
  await ask(eb, 'echo', 1);
  [err, m] = await ask(other, 'y', 'q')
  ok('answer', !err && m.body === 'answer to q', [err, m])

  const asked = await new Promise(r => eb.send('ask', 1, {}, (err, m) => m.reply(7, {}, (err, m) => r(m))))
  ok('a reply that asks', asked.body.answered === 7, asked)
  await new Promise(r => setTimeout(r, 500)); // two pings
  [err, m] = await ask(eb, 'echo', 'alive')
  ok('alive', !err && m.body === 'alive', err)
  console.log('done')
  process.exit(0)
}
