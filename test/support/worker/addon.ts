import { createRequire } from 'node:module'
import type { Native } from '../../../src/native.js'

/** The built one: the addon is found relative to it, and a test process and the agent under test load the same. */
const built = createRequire(import.meta.url)('../../../dist/native.js') as { native(): Native }

export const native: Native = built.native()
export const READABLE = 1
export const WRITABLE = 2
