import { closeSync, openSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { native } from '../../src/native.js'
import { temporaryDirectory } from '../support/launcher'
import { errorOf } from './support/errors'

const addon = native()
const isRoot = process.getuid?.() === 0

describe('users', () => {
  it('are found by name and by number, with all groups', () => {
    const root = addon.findUser('root')
    expect(root).toMatchObject({ name: 'root', uid: 0, gid: 0, home: '/root' })
    expect(root?.groups).toContain(0)
    expect(addon.findUser(0)).toEqual(root)
    expect(addon.findGroup('root')).toBe(0)
  })

  it('that are not there are null', () => {
    expect([addon.findUser('no such user'), addon.findUser(4_000_000_000), addon.findGroup('no such group')]).toEqual([
      null,
      null,
      null,
    ])
  })

  it('must be a name or a number', () => {
    expect(errorOf(() => addon.findUser(-1))).toBeInstanceOf(RangeError)
    expect(errorOf(() => addon.findUser(2 ** 32 - 1))).toBeInstanceOf(RangeError)
    expect(errorOf(() => addon.findUser('a\0b'))).toBeInstanceOf(TypeError)
  })

  it.runIf(isRoot)('useFilesAs: files only, and back', () => {
    const path = join(temporaryDirectory(), 'file')
    const groups = process.getgroups?.() ?? []
    addon.useFilesAs({ uid: 65_534, gid: 65_534, groups: [] })
    try {
      expect(errorOf(() => openSync(path, 'w'))).toMatchObject({ code: 'EACCES' })
      expect(process.geteuid?.()).toBe(0)
    } finally {
      addon.useFilesAs({ uid: 0, gid: 0, groups })
    }
    closeSync(openSync(path, 'w'))
    expect(statSync(path).uid).toBe(0)
    expect(process.getgroups?.()).toEqual(groups)
  })
})
