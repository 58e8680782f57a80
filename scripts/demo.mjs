/**
 * `npm run demo`: an Express program, two workers, twenty reloads under load from clients that never retry. Exits 0 only if nothing
 * was lost.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const run = (...argv) => spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit' })

if (!existsSync(join(root, 'dist', 'cli', 'main.js')) && run('scripts/build.mjs').status !== 0) process.exit(1)

const paths = ['--upload-path', '/upload', '--slow-path', '/slow']
const argv = ['verify', '-n', '2', '--reloads', '20', ...paths, '--', 'node', 'examples/express/app.js']
console.error(`$ reuseport-run ${argv.join(' ')}\n`)
process.exitCode = run('dist/cli/main.js', ...argv).status ?? 1
