import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Status } from '../../control-protocol.js'
import type { State } from '../brain/state.js'
import type { EventStream } from '../event-stream.js'
import { type Routes, send } from '../http/server.js'
import { RecentEvents } from './events.js'
import { History } from './history.js'
import { Live } from './live.js'

const FILE = join(__dirname, '..', '..', '..', 'web', 'status-page.html')

/** A page that shows how the launcher is, and its data: GET / and GET /live. */
export class StatusPage {
  readonly #history = new History()
  readonly routes: Routes

  /** `events`: those from now on. */
  constructor(status: (watchMs: number) => Promise<Status>, state: State, events: EventStream) {
    const recent = new RecentEvents()
    const live = new Live(status, () => ({ history: this.#history.samples, events: recent.events }))
    this.#history.onSample = (sample) => live.send('sample', sample)
    this.#history.stepped(state)
    events.follow((level, event, fields) => live.send('event', recent.add(level, event, fields ?? {})))
    // Now: the directory may be another version's when somebody asks.
    const page = readFileSync(FILE)
    const policy = policyOf(page.toString('utf8'))
    this.routes = {
      '/': {
        answer: (_request, response) => {
          response.setHeader('content-security-policy', policy)
          response.setHeader('referrer-policy', 'no-referrer')
          send(response, { type: 'text/html; charset=utf-8', body: page })
        },
      },
      '/live': { isStream: true, answer: (request, response) => live.add(request, response) },
    }
  }

  /** After each event of the brain. */
  stepped(state: State): void {
    this.#history.stepped(state)
  }
}

/** Its own style, its own script, its own stream, and nothing else from anywhere. */
function policyOf(page: string): string {
  const hashes = (tag: string): string =>
    [...page.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))]
      .map(([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`)
      .join(' ')
  return [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
