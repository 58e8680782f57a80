/**
 * `node scripts/any-program.mjs [--reloads 20] [program…]`: programs in other languages under `verify --listen`, with clients that open a
 * connection for each request and never retry; writes the table of docs/any-program.md. Needs gunicorn, uvicorn, python3 and cc (Debian:
 * apt-get install gunicorn uvicorn gcc). Exits 1 if anything was lost.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './build.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { reloads: { type: 'string', default: '20' } },
})

const page = join(root, 'docs', 'any-program.md')
const programs = join(root, 'scripts', 'programs')
const built = mkdtempSync(join(tmpdir(), 'reuseport-programs-'))
const cli = join(root, 'dist', 'cli', 'main.js')
// Not what a version manager puts in front of it: Debian's packages are for Debian's.
const PYTHON = '/usr/bin/python3'
const firstLine = (file, ...words) => execFileSync(file, words, { encoding: 'utf8' }).trim().split('\n')[0]
const versionOf = (file, ...words) => /\d+(\.\d+)+/.exec(firstLine(file, ...words))[0]

const ALL = [
  {
    name: 'gunicorn',
    title: () => `gunicorn ${versionOf('gunicorn', '--version')}, its sync workers`,
    command: ['gunicorn', '--chdir', programs, '--workers', '2', 'wsgi:app'],
  },
  {
    name: 'gthread',
    title: () => `gunicorn ${versionOf('gunicorn', '--version')}, with threads`,
    command: ['gunicorn', '--chdir', programs, '--threads', '4', 'wsgi:app'],
  },
  {
    name: 'uvicorn',
    title: () => `uvicorn ${versionOf('uvicorn', '--version')}`,
    command: ['uvicorn', '--app-dir', programs, '--fd', '3', '--log-level', 'warning', 'asgi:app'],
  },
  {
    name: 'http.server',
    title: () => `http.server of Python ${versionOf(PYTHON, '--version')}`,
    command: [PYTHON, join(programs, 'http_server.py')],
  },
  {
    name: 'c',
    title: () => 'a server in C (`test/fixtures/programs/given.c`)',
    prepare: () =>
      execFileSync('cc', ['-O1', '-o', join(built, 'given'), join(root, 'test/fixtures/programs/given.c')]),
    command: [join(built, 'given')],
  },
  {
    name: 'node',
    title: () => `Node ${process.version}, \`listen({ fd: 3 })\``,
    command: [process.execPath, join(programs, 'node.cjs')],
  },
]

/** One row of the table. */
function measure({ title, command, prepare }) {
  prepare?.()
  const load = ['--reloads', values.reloads, '--clients', 'new=8', '--upload-path', 'none']
  const how = ['--listen', 'http=tcp:3000', '--ready', 'alive:1s', '-n', '2']
  const { stdout } = spawnSync(process.execPath, [cli, 'verify', '--json', ...how, ...load, '--', ...command], {
    cwd: built,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (stdout === '') throw new Error(`no report about ${command[0]}`)
  const { result, total, reloads, counters, reasons } = JSON.parse(stdout)
  const counts = [total.requests.toLocaleString('en-US'), total.lost === 0 ? '**0**' : total.lost]
  const kernel = counters.judged ? `+${counters.change.OutRsts}` : 'shared'
  for (const reason of reasons) console.error(`  ${reason}`)
  return {
    isGood: result === 'passed',
    row: `| ${title()} | ${reloads.done} of ${reloads.each.length} | ${counts.join(' | ')} | ${kernel} |`,
  }
}

const [BEGIN, END] = ['<!-- measured:begin -->', '<!-- measured:end -->']

/** What there is of the others stays, if it is of this version of them. */
function write(measured) {
  const text = readFileSync(page, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const [table, after] = rest.split(END)
  const known = table.split('\n')
  const rows = ALL.flatMap((program) => {
    const row = measured.get(program) ?? known.find((line) => line.startsWith(`| ${program.title()} |`))
    return row ?? []
  })
  const head = '| program | reloads | requests | lost | OutRsts |\n| --- | ---: | ---: | ---: | ---: |'
  writeFileSync(page, `${before}${BEGIN}\n${head}\n${rows.join('\n')}\n${END}${after}`)
}

try {
  const chosen = ALL.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  for (const program of chosen) {
    console.error(`\n=== ${program.name}`)
    const { isGood, row } = measure(program)
    console.error(row)
    write(new Map([[program, row]]))
    if (!isGood) process.exitCode = 1
  }
} finally {
  rmSync(built, { recursive: true, force: true })
}
