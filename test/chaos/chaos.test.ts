import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, TEST_NODE } from '../support/paths'

/*
 * Half a minute of `node scripts/chaos.mjs`, in another order each time. If it fails it names the seed, with which the same things are done in the same order:
 * `node scripts/chaos/piece.mjs '{"seconds": 30, "seed": …}'`. It is root's: each run has a network of its own.
 */

const SECONDS = 30
/** What is under way then is waited for: an order may take two minutes. */
const LONG_MS = 300_000

test.runIf(process.getuid?.() === 0)(
  'whatever is done to launcher and workers, at once: nothing is lost but what a killed worker had in hand',
  async () => {
    const plan = JSON.stringify({ seconds: SECONDS, seed: randomInt(2 ** 31) })
    const piece = spawn(TEST_NODE, [join(ROOT, 'scripts', 'chaos', 'piece.mjs'), plan], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    // It ends what it has started.
    onTestFinished(() => void piece.kill('SIGTERM'))
    const [found, said] = await Promise.all([text(piece.stdout), text(piece.stderr), once(piece, 'exit')])
    expect(said, plan).toBe('')
    const { reasons, figures } = JSON.parse(found) as {
      reasons: string[]
      figures: { requests: number; orders: number }
    }
    expect(reasons, plan).toEqual([])
    expect(figures.requests, plan).toBeGreaterThan(100)
    expect(figures.orders, plan).toBeGreaterThan(3)
  },
  LONG_MS,
)
