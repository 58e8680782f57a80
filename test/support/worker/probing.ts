import type { Answer } from '../../../src/launcher/probe/answer.js'
import { Attempt, type Hand } from '../../../src/launcher/probe/attempt.js'
import { handing } from '../../../src/launcher/probe/pair.js'
import { HEALTH_DEFAULTS, type HealthOptions } from '../../../src/options.js'
import type { FakeWorker } from './fake-launcher.js'

/** A health check as a test words it. */
export const healthOf = (more: Partial<HealthOptions> = {}): HealthOptions => ({
  ...HEALTH_DEFAULTS,
  kind: 'http',
  target: '/',
  ...more,
})

/** How the launcher gives a connection to a worker, through the fake launcher's end of its channel. */
export function handTo(worker: FakeWorker, listener: string): Hand {
  return (fd, answered) => {
    let waits = true
    worker.order({ type: 'probe', listener }, [{ name: 'probe', fd }]).then(
      (result) => waits && answered({ speaks: result?.speaks ?? 'tcp' }),
      (error: Error) => waits && answered({ error: error.message }),
    )
    return () => {
      waits = false
    }
  }
}

/** One attempt on this worker, to its end. */
export function attempt(hand: Hand, health: HealthOptions): Promise<Answer> {
  return new Promise((done) => new Attempt(health, handing(hand), done))
}
