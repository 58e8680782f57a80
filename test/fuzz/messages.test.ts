import { expect } from 'vitest'
import { parseReport } from '../../src/launcher/report'
import type { Fds, Native } from '../../src/native'
import { addHeld, addOutcomes } from '../../src/outcomes'
import { addAnswered, listenerKey, type Report } from '../../src/protocol'
import { parsePacket } from '../../src/serving/incoming'
import { damaged, fuzz, orRefused } from '../support/fuzz'
import { REPORTS } from '../support/reports'

/** As the launcher does; figures of it. */
function use(report: Report): unknown {
  switch (report.type) {
    case 'claim': {
      const { kind } = report.address
      const key = listenerKey(report.address)
      expect(key.startsWith(`${kind} `)).toBe(true)
      if (report.address.kind !== 'unix') expect(key).toMatch(/(?:^|:)[1-9]\d{0,4}(?: |$)/)
      return [report.id, report.backlog]
    }
    case 'drained':
      return addOutcomes([report.outcome, report.outcome])
    case 'draining':
      return addHeld([report.held, report.held])
    case 'answered':
      return addAnswered([report, report])
    case 'warning':
      return `${report.code.length} ${report.message.length}`
    case 'nack':
      return `${report.seq + 1} ${report.code.length} ${report.message.length}`
    default:
      return null
  }
}

fuzz(
  'reports',
  'whatever a worker says is refused, or is a report of its kind (I-03, I-05, S-11)',
  damaged(REPORTS),
  (text) => {
    const report = orRefused(() => parseReport(Buffer.from(text)))
    if (report === undefined) return
    // It means the same to whoever reads what was made of it, and whoever uses it gets what he can use.
    expect(parseReport(Buffer.from(JSON.stringify(report)))).toEqual(report)
    const figures = use(report)
    expect(JSON.parse(JSON.stringify(figures))).toEqual(figures)
  },
)

fuzz(
  'packets',
  'whatever comes with descriptors, each of them is taken once or closed once (I-10, S-05)',
  damaged([{ type: 'sockets', seq: 1, fds: ['path', 'lock', 'tcp *:3000'] }]),
  (text) => {
    const given = Int32Array.of(10, 11, 12)
    const closed: number[] = []
    const close = (fd: number) => void closed.push(fd)
    const addon = { close, closeAll: (fds: Fds) => fds.forEach(close) } as unknown as Native
    const packet = { data: Buffer.from(text), fds: given, truncated: false }
    const incoming = parsePacket(addon, packet)
    if ('malformed' in incoming) return expect(closed).toEqual([...given])
    expect((incoming.message as { fds?: unknown }).fds).toHaveLength(3)
    expect(closed).toEqual([])
    const taken = incoming.fds.take(1)
    incoming.fds.closeRest()
    incoming.fds.closeRest()
    expect([taken, ...closed]).toEqual([11, 10, 12])
  },
)
