import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readEnvFile } from '../../src/launcher/env-file.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'env-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

function read(text: string): Readonly<Record<string, string>> {
  writeFileSync(join(directory, '.env'), text)
  return readEnvFile('.env', directory)
}

function refused(text: string): string {
  try {
    read(text)
  } catch (error) {
    return (error as Error).message.replace(directory, '')
  }
  return 'taken'
}

describe('an environment file', () => {
  it.each<[string, Record<string, string>]>([
    ['', {}],
    ['# only a comment\n\n   \n', {}],
    ['A=1\nB = two words \nC=', { A: '1', B: 'two words', C: '' }],
    ['export A=1\r\nB=2\r\n', { A: '1', B: '2' }],
    [`A="x # y"  # comment\nB='it is "so"'\nC=\`a\`\nD=it's`, { A: 'x # y', B: 'it is "so"', C: 'a', D: "it's" }],
    ['KEY="-----BEGIN-----\nabc\n-----END-----"\nB=2', { KEY: '-----BEGIN-----\nabc\n-----END-----', B: '2' }],
    ['A=1\nA=2', { A: '2' }],
  ])('%j is read as Node reads it', (text, variables) => {
    expect(read(text)).toEqual(variables)
  })

  it.each([
    ['A=1\nnonsense\n', 'line 2 of the environment file /.env is neither NAME=value nor a comment'],
    ['# c\n\nA=1\n=2', 'line 4 of the environment file /.env does not begin with the name of a variable'],
    ['1A=1', 'line 1 of the environment file /.env does not begin with the name of a variable'],
    ['a b=1', 'line 1 of the environment file /.env does not begin with the name of a variable'],
    ['A="x\ny"\nB="', 'line 3 of the environment file /.env begins a value with " and does not end it'],
    ['A="x\ny"\nsecret of somebody', 'line 3 of the environment file /.env is neither NAME=value nor a comment'],
    ['A=1\0', 'the environment file /.env holds a NUL byte'],
  ])('%j is refused as a whole', (text, message) => {
    expect(refused(text)).toBe(message)
  })

  it('that is not there is refused by its path', () => {
    expect(() => readEnvFile('missing', directory)).toThrow(
      `the environment file ${directory}/missing cannot be read: ENOENT`,
    )
  })
})
