// The checks of the client of the TCP bridge: node tcp.js PORT.
const { createRequire } = require('module')
const EventBus = createRequire(process.cwd() + '/')('vertx3-tcp-eventbus-client/lib/tcp-vertx-eventbus.js')
const fail = why => { console.log('FAILED', why); process.exit(1) }
setTimeout(() => fail('not done within 20 s'), 20000).unref()
const ok = (name, is, got) => is ? console.log('ok', name) : fail(name + ': ' + JSON.stringify(got))
console.warn = () => {} // it warns of every pong
const eb = new EventBus('127.0.0.1', +process.argv[2], { vertxbus_ping_interval: 200 })
const errors = []
eb.onerror = e => errors.push(e)
const ask = (address, body, headers) => new Promise(r => eb.send(address, body, headers || {}, (err, m) => r([err, m])))
eb.onopen = () => main().catch(e => fail(e.stack))

async function main() {
  ok('open', true)
  let [err, m] = await ask('echo', { text: '𝄞' }, { a: 'b' })
  ok('echo', !err && m.body.text === '𝄞' && m.headers.a === 'b', [err, m]);
  [err, m] = await ask('fail', 1)
  ok('failure', err && err.failureType === 'RECIPIENT_FAILURE' && err.failureCode === 42 && err.message === 'no', err);
  [err, m] = await ask('nobody', 1)
  ok('no handlers', err && err.failureType === 'NO_HANDLERS', err);
  [err, m] = await ask('silent', 1, { timeout: 100 })
  ok('timeout', err && err.failureType === 'TIMEOUT', err)
  eb.send('forbidden', 1)
  while (errors.length == 0) await new Promise(r => setTimeout(r, 5))
  ok('denied', errors[0].message === 'access_denied', errors)
  const heard = new Promise(r => eb.registerHandler('x', (err, m) => r(m)))
  await ask('echo', 1)
  eb.publish('x', { n: 1 })
  ok('publish', (await heard).body.n === 1)
  const large = 'x'.repeat(500000);
  [err, m] = await ask('echo', large)
  ok('large', !err && m.body === large, err)
  await new Promise(r => setTimeout(r, 500));
  [err, m] = await ask('echo', 'alive')
  ok('alive', !err && m.body === 'alive', err)
  console.log('done')
  process.exit(0)
}
