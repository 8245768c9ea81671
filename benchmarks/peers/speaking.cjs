// The same conversation as speaking.py, for queues that run on Node.
'use strict'

const readline = require('node:readline')

const CONCURRENCY = 100
const WARM_UP = 5

// The same clock as Python's time.monotonic().
const now = () => Number(process.hrtime.bigint()) / 1e9
const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))
const say = answer => process.stdout.write(JSON.stringify(answer) + '\n')

class Runs {
  constructor () {
    this.at = new Map()
    this.wanted = 0
    this.enough = () => {}
  }

  ran (number) {
    if (this.at.has(number)) return
    this.at.set(number, now())
    if (this.at.size === this.wanted) this.enough()
  }

  after (count) {
    return [...this.at.values()][count]
  }

  reach (wanted) {
    this.wanted = wanted
    return this.at.size >= wanted ? Promise.resolve() : new Promise(resolve => { this.enough = resolve })
  }
}

async function drain (queue, runs, { jobs, uncounted }) {
  await queue.start(false)
  await runs.reach(jobs)
  return { began: runs.after(uncounted) }
}

async function idle (queue, runs, pauses) {
  await queue.start(true)
  const asked = []
  for (const [number, pause] of pauses.entries()) {
    await sleep(pause)
    asked.push(now())
    await queue.enqueue(number)
    if (number < WARM_UP) await runs.reach(number + 1)
  }
  await runs.reach(pauses.length)
  return { seconds: asked.map((at, number) => runs.at.get(number) - at).slice(WARM_UP) }
}

async function obey (queue, runs, wish) {
  switch (wish.do) {
    case 'prepare': return (await queue.prepare(), {})
    case 'fill': return (await queue.fill(wish.jobs), {})
    case 'drain': return drain(queue, runs, wish)
    case 'idle': return idle(queue, runs, wish.pauses)
  }
}

async function converse (queue, runs) {
  say({ version: queue.version })
  for await (const line of readline.createInterface({ input: process.stdin })) {
    say(await obey(queue, runs, JSON.parse(line)))
  }
  process.exit(0)
}

function * numbersInBatches (jobs, size = 1000) {
  for (let start = 0; start < jobs; start += size) {
    yield Array.from({ length: Math.min(size, jobs - start) }, (_, index) => start + index)
  }
}

module.exports = { CONCURRENCY, Runs, converse, numbersInBatches }
