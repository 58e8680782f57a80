import { join } from 'node:path'

export const ROOT: string = join(import.meta.dirname, '..', '..')
/** The Node under test; a matrix runs every test with each supported one. */
export const TEST_NODE: string = process.env['TEST_NODE'] ?? process.execPath
export const fixture = (name: string): string => join(ROOT, 'test', 'fixtures', name)
