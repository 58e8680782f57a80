import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, TEST_NODE } from '../support/paths'

/*
 * Half a minute of `node scripts/chaos.mjs`, the same deeds in the same order each time: what a change breaks is red in its own run. Other seeds are
 * the campaign's (docs/chaos.md). It is root's: each run has a network of its own.
 */

const SECONDS = 30
const SEED = 20_261
/** What is under way then is waited for: an order may take two minutes. */
const LONG_MS = 300_000

test.runIf(process.getuid?.() === 0)(
  'whatever is done to launcher and workers, at once: nothing is lost but what a killed worker had in hand',
  async () => {
    const plan = JSON.stringify({ seconds: SECONDS, seed: SEED })
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
