import { readFileSync } from 'node:fs'
import { transformSync } from 'esbuild'

/** A module of the tests that imports no other. */
export function fromTypeScript(path) {
  const { code } = transformSync(readFileSync(path, 'utf8'), { loader: 'ts', format: 'esm' })
  return import(`data:text/javascript,${encodeURIComponent(code)}`)
}
