// graphile-worker, with its local queue and with completions in batches.
'use strict'

const { Pool } = require('pg')
const { Logger, makeWorkerUtils, run } = require('graphile-worker')
const { version } = require('graphile-worker/package.json')
const { CONCURRENCY, Runs, converse, numbersInBatches } = require('./speaking.cjs')

const silent = new Logger(() => () => {})

class GraphileWorker {
  constructor (address, runs) {
    this.version = version
    this.pool = new Pool({ ...address, max: 10 })
    this.pool.on('error', error => process.stderr.write(`${error.message}\n`))
    this.pool.on('connect', client => client.on('error', error => process.stderr.write(`${error.message}\n`)))
    this.runs = runs
  }

  async open () {
    this.utils = await makeWorkerUtils({ pgPool: this.pool, logger: silent })
  }

  async prepare () {
    await this.utils.migrate()
  }

  async fill (jobs) {
    for (const numbers of numbersInBatches(jobs)) {
      await this.utils.addJobs(numbers.map(number => ({ identifier: 'nothing', payload: { number } })))
    }
  }

  async start () {
    await run({
      pgPool: this.pool,
      logger: silent,
      noHandleSignals: true,
      taskList: { nothing: async ({ number }) => this.runs.ran(number) },
      preset: {
        worker: {
          concurrentJobs: CONCURRENCY,
          localQueue: { size: CONCURRENCY },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0
        }
      }
    })
  }

  async enqueue (number) {
    await this.utils.addJob('nothing', { number })
  }
}

async function main () {
  const runs = new Runs()
  const queue = new GraphileWorker(JSON.parse(process.argv[2]), runs)
  await queue.open()
  await converse(queue, runs)
}

main()
