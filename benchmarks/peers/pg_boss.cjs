// pg-boss: loops of fetch and complete for a backlog, because its own worker rests between two fetches;
// that worker, at its shortest interval, for jobs that come one by one.
'use strict'

const PgBoss = require('pg-boss')
const { version } = require('pg-boss/package.json')
const { CONCURRENCY, Runs, converse, numbersInBatches } = require('./speaking.cjs')

const QUEUE = 'nothing'
const LOOPS = 10

class Boss {
  constructor (address, runs) {
    this.version = version
    this.boss = new PgBoss({ ...address, max: LOOPS })
    this.boss.on('error', error => process.stderr.write(`${error.message}\n`))
    this.runs = runs
  }

  async open () {
    await this.boss.start()
  }

  async prepare () {
    await this.boss.createQueue(QUEUE)
  }

  async fill (jobs) {
    for (const numbers of numbersInBatches(jobs)) {
      await this.boss.insert(numbers.map(number => ({ name: QUEUE, data: { number } })))
    }
  }

  async start (idle) {
    if (idle) {
      const options = { batchSize: CONCURRENCY, pollingIntervalSeconds: 0.5 }
      await this.boss.work(QUEUE, options, async jobs => this.ran(jobs))
    } else {
      for (let loop = 0; loop < LOOPS; loop++) this.loop()
    }
  }

  async loop () {
    while (true) {
      const jobs = await this.boss.fetch(QUEUE, { batchSize: CONCURRENCY })
      if (!jobs || jobs.length === 0) return
      this.ran(jobs)
      await this.boss.complete(QUEUE, jobs.map(job => job.id))
    }
  }

  ran (jobs) {
    for (const job of jobs) this.runs.ran(job.data.number)
  }

  async enqueue (number) {
    await this.boss.send(QUEUE, { number })
  }
}

async function main () {
  const runs = new Runs()
  const queue = new Boss(JSON.parse(process.argv[2]), runs)
  await queue.open()
  await converse(queue, runs)
}

main()
