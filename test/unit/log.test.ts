import { describe, expect, it } from 'vitest'
import { createLog } from '../../src/log'

/** What somebody who may choose every text could try. */
const EVIL = [
  'a\n12:00:00.000 launcher.stopped code=0',
  'a\r\x1b[2K\x1b[1Aerror',
  '{"msg":"launcher.stopped"}\n{"msg":"worker.serving"}',
  'a" pid=1 b="',
  '\x00\x07\x7f\x9b2J',
]

const written = (format: 'text' | 'json', fields: Readonly<Record<string, unknown>>): string => {
  let all = ''
  createLog(
    format,
    (text) => {
      all += text
    },
    false,
  )('warn', 'worker.exited', fields)
  return all
}

describe('a line of the log is forged by nobody (L-08, S-11)', () => {
  it.each(EVIL)('as text: %j', (evil) => {
    const all = written('text', { reason: evil, list: [evil, evil], stderr: [evil] })
    const lines = all.split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^warn worker\.exited reason=/)
    expect(lines[1]).toMatch(/^ {4}\| /)
    expect(lines[2]).toBe('')
    expect(all).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
    // No field that was not given.
    const names = [...(lines[0]?.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').matchAll(/(?<= )\w+(?==)/g) ?? [])].map(String)
    expect(names).toEqual(['reason', 'list'])
  })

  it.each(EVIL)('as JSON: %j', (evil) => {
    const all = written('json', { reason: evil, stderr: [evil] })
    expect(all.indexOf('\n')).toBe(all.length - 1)
    expect(JSON.parse(all)).toEqual({
      level: 40,
      time: expect.any(Number),
      pid: process.pid,
      msg: 'worker.exited',
      reason: evil,
      stderr: [evil],
    })
  })
})
