import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { OPTIONS, VERBS } from '../../src/cli/option-table'
import { parseCommandLine } from '../../src/cli/parse'
import { type ErrorCode, ReuseportError } from '../../src/errors'
import { METRICS } from '../../src/launcher/metrics/table'
import { BUCKETS } from '../../src/verify/load/buckets'
import { KINDS } from '../../src/verify/load/kinds'
import { ROOT, TEST_NODE } from '../support/paths'
import { filesBelow, Page, read } from './markdown'

/*
 * What the documents say can be looked up in the source is looked up here: codes, options, events, files, fields, links, commands.
 */

const pages = filesBelow('')
  .filter((path) => path.endsWith('.md'))
  .map((path) => new Page(path))
const page = (path: string): Page => pages.find((one) => one.path === path) ?? new Page(path)
const sources = filesBelow('src').filter((path) => path.endsWith('.ts'))

/** Both lists, without order: what one has and the other has not is what fails. */
function same(written: readonly string[], real: readonly string[]): void {
  expect({
    missing: real.filter((one) => !written.includes(one)),
    invented: written.filter((one) => !real.includes(one)),
    twice: written.filter((one, index) => written.indexOf(one) !== index),
  }).toEqual({ missing: [], invented: [], twice: [] })
}

describe('error codes', () => {
  const codes = [...read('src/errors.ts').matchAll(/^ {2}\| '(ERR_\w+)'$/gm)].map(([, code]) => code as ErrorCode)
  const errors = page('docs/errors.md')

  it('have a heading each in errors.md, and no other has', () => {
    expect(codes.length).toBeGreaterThan(10)
    const headings = errors.headings.filter((heading) => heading.startsWith('ERR_'))
    same(headings, codes)
  })

  it('have the exit code that is written there', () => {
    for (const code of codes) {
      const written = /^- Exit code: (\d+)/m.exec(errors.section(code))?.[1]
      expect(written, code).toBe(String(new ReuseportError(code, '').exitCode))
    }
  })

  it('are all used somewhere', () => {
    const used = sources.filter((path) => path !== 'src/errors.ts').map(read)
    expect(codes.filter((code) => !used.some((text) => text.includes(`'${code}'`)))).toEqual([])
  })

  it('exist wherever a page names one', () => {
    for (const { path, prose, code } of pages)
      for (const [name] of `${prose}\n${code.join('\n')}`.matchAll(/\bERR_[A-Z_]+\b/g))
        expect(codes, path).toContain(name)
  })

  it('exit codes: the README and errors.md have the same', () => {
    const codesOf = (path: string, title: string): string[] =>
      page(path)
        .table(title)
        .flatMap(([cell]) => (cell as string).split(', '))
    const short = codesOf('README.md', 'exit code')
    const long = codesOf('docs/errors.md', 'code').flatMap((code) => (code === '128 + n' ? ['130', '131'] : [code]))
    same(short, long)
    for (const code of codes) expect(short, code).toContain(String(new ReuseportError(code, '').exitCode))
  })
})

describe('options', () => {
  it('options.md and all else that is made of the option table is what the table says', () => {
    const { status, stderr } = spawnSync(TEST_NODE, [join(ROOT, 'scripts', 'generate.mjs'), '--check'], {
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  /** "`-h`, `--help` · `-v`, `--version`" is two. */
  const rows = page('README.md')
    .table('option')
    .flatMap(([option, meaning]) =>
      (option as string).split(' · ').map((words) => {
        const [, short, name, value] =
          /^(?:`-(\w)`, )?`--([\w-]+)(?: ([^`]+))?`$/.exec(words) ?? expect.fail(`no option: ${words}`)
        return { short, name: name as string, value, meaning: meaning as string }
      }),
    )

  it.each(rows)('the README on --$name: letter, value and default', (row) => {
    const option = OPTIONS.find(({ name }) => name === row.name) ?? expect.fail('no such option')
    expect(row).toMatchObject({ short: option.short, value: option.value })
    const said = option.default?.split(';')[0]
    // A single word can be compared; the rest is told in two ways.
    if (said !== undefined && /^\S+$/.test(said))
      expect(/Default: (\S+?)[;.,]?(?:\s|$)/.exec(row.meaning)?.[1]).toBe(said)
  })
})

describe('log events', () => {
  const CALL = /\blog\(\s*([^,()]+),\s*([^,()]+)/g
  const calls = sources
    .filter((path) => path.startsWith('src/launcher/'))
    .flatMap((path) => [...read(path).matchAll(CALL)].map(([, level, event]) => ({ path, level, event })))
    .map(({ path, level, event }) => ({
      path,
      levels: [...(level as string).matchAll(/'(info|warn|error)'/g)].map(([, name]) => name as string),
      event: /^'([a-z.-]+)'$/.exec((event as string).trim())?.[1],
    }))
  const real = calls.filter(({ event }) => event !== undefined)
  const rows = page('docs/log.md').table('event')

  it('are all named where they are logged', () => {
    // The two places through which the brain's events pass.
    expect(calls.filter(({ event }) => event === undefined).map(({ path }) => path)).toEqual([
      'src/launcher/brain/draft.ts',
      'src/launcher/hands.ts',
    ])
  })

  it('are those of log.md', () => {
    same(
      rows.map(([event]) => (event as string).replaceAll('`', '')),
      [...new Set(real.map(({ event }) => event as string))],
    )
  })

  it('have the level that is written there', () => {
    for (const [cell, levels] of rows) {
      const event = (cell as string).replaceAll('`', '')
      const logged = real.filter((call) => call.event === event).flatMap((call) => call.levels)
      expect((levels as string).split(', ').sort(), event).toEqual([...new Set(logged)].sort())
    }
  })

  it('exist wherever a page names one', () => {
    const known = new Set(real.map(({ event }) => event))
    const subjects = new Set([...known].map((event) => event?.split('.')[0]))
    for (const { path, spans } of pages)
      for (const span of spans)
        if (/^[a-z]+\.(?!sock$)[a-z-]+$/.test(span) && subjects.has(span.split('.')[0]))
          expect(known, path).toContain(span)
  })
})

describe('architecture.md', () => {
  it('has every source file in a room, once, and no other', () => {
    const rooms = page('docs/architecture.md').prose.split('\n## Rooms\n')[1]?.split('\n## ')[0] as string
    const items = rooms.split('\n').filter((line) => line.startsWith('- `'))
    const written = items.flatMap((line) => [...(line.split(': ')[0] as string).matchAll(/`([^`]+)`/g)])
    const native = filesBelow('native').filter((path) => !/^native\/(test|fuzz)\//.test(path))
    same(
      written.map(([, path]) => path as string),
      [...sources, ...native],
    )
  })
})

describe('JSON', () => {
  /** Names of the fields of an interface of control-protocol.ts, of the first level. */
  const fieldsOf = (name: string): string[] => {
    const body = new RegExp(`^export interface ${name} \\{\\n([\\s\\S]*?)^\\}`, 'm').exec(
      read('src/control-protocol.ts'),
    )?.[1] as string
    return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, field]) => field as string)
  }
  const written = (path: string): string[] =>
    page(path)
      .table('field')
      .flatMap(([cell]) => [...(cell as string).matchAll(/`(\w+)(?:\[\])?`/g)].map(([, field]) => field as string))

  it('log.md has the fields of status', () => same(written('docs/log.md'), fieldsOf('Status')))
  it('reload.md has the fields of a verdict', () => same(written('docs/reload.md'), fieldsOf('Verdict')))
  it('canary.md has what is said of a canary', () => {
    const cells = page('docs/canary.md').table('of the canary')
    const names = (text: string | undefined): string[] =>
      [...(text ?? '').matchAll(/`([a-z]\w+)`/g)].map(([, name]) => name as string)
    same(
      cells.flatMap(([cell]) => names(cell)),
      [...fieldsOf('CanaryReport'), 'leftMs'],
    )
    const counts = cells.find(([cell]) => cell?.includes('`others`'))?.[1]
    same(names(counts), fieldsOf('Served'))
  })
  it('reload.md has what a verdict says of a worker', () => {
    const [, , meaning] = /^\| (`workers\[\]`) \|(.*)\|$/m.exec(page('docs/reload.md').prose) ?? []
    same(
      [...(meaning as string).matchAll(/`(\w+)`/g)].map(([, field]) => field as string),
      fieldsOf('WorkerVerdict'),
    )
  })
})

describe('library.md', () => {
  const library = page('docs/library.md')
  const rowsOf = (heading: string): string[] =>
    [...library.section(heading).matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell as string)
  /** The first level of an interface or a class: names of its fields and methods. */
  const membersOf = (path: string, name: string): string[] => {
    const [, body] =
      new RegExp(`^export (?:interface|class) ${name} .*\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(read(path)) ?? []
    const members = (body as string).matchAll(/^ {2}(?:readonly |async )?(\w+)\??(?::|\(.*[{;]?$)/gm)
    return [...new Set([...members].map(([, member]) => member as string))].filter((one) => one !== 'constructor')
  }

  it('has every option', () => {
    const written = rowsOf('`listenReusePort(server, options)`').map((cell) => cell.replaceAll('`', ''))
    same(written, membersOf('src/library/listen-reuse-port.ts', 'ListenReusePortOptions'))
  })

  it('has every option of UDP', () => {
    const written = rowsOf('UDP').flatMap((cell) => cell.replaceAll('`', '').split(', '))
    same(written, membersOf('src/library/bind-reuse-port.ts', 'BindReusePortOptions'))
  })

  it('has everything of a listener', () => {
    const written = rowsOf('The listener').flatMap((cell) => /^`(\w+)(?:\(\))?`$/.exec(cell)?.[1] ?? [])
    const real = ['ReusePortListener', 'ReusePortSocket'].flatMap((name) => membersOf('src/library/listener.ts', name))
    same(written, real)
  })

  it('has every event', () => {
    const written = rowsOf('The listener').flatMap((cell) => /^`'(\w+)'`$/.exec(cell)?.[1] ?? [])
    same(written, membersOf('src/library/listener.ts', 'ListenerEvents'))
  })

  it('has every error', () => {
    const thrown = sources
      .filter((path) => path.startsWith('src/library/'))
      .flatMap((path) => [...read(path).matchAll(/'(ERR_\w+)'/g)].map(([, code]) => code as ErrorCode))
    // Node's own, of a server that is closed already, is caught.
    for (const code of new Set(thrown))
      if (code !== ('ERR_SERVER_NOT_RUNNING' as string)) expect(library.prose).toContain(`[${code}](`)
  })

  it('has every order', () => {
    const written = library.table('order').flatMap(([cell]) => [...(cell as string).matchAll(/`(\w+)\(/g)])
    same([...new Set(written.map(([, name]) => name as string))], membersOf('src/control-client.ts', 'ControlClient'))
  })
})

describe('verify', () => {
  it('verify-command.md has the buckets', () => {
    const rows = page('docs/verify-command.md').table('bucket')
    same(
      rows.map(([cell]) => (cell as string).replaceAll('`', '')),
      [...BUCKETS],
    )
  })

  it('verify-command.md has the kinds of clients', () => {
    const rows = page('docs/verify-command.md').table('`--clients`')
    same(
      rows.flatMap(([cell]) => [...(cell as string).matchAll(/`([^`]+)`/g)].map(([, kind]) => kind as string)),
      Object.keys(KINDS),
    )
  })
})

describe('doctor', () => {
  it('doctor.md has every check', () => {
    const rows = page('docs/doctor.md').table('check')
    const made = sources
      .filter((path) => path.startsWith('src/doctor/'))
      .flatMap((path) =>
        [...read(path).matchAll(/\b(?:ok|warn|fail)\(\s*'([a-z_-]+)'/g)].map(([, name]) => name as string),
      )
    same(
      rows.flatMap(([cell]) => [...(cell as string).matchAll(/`([^`]+)`/g)].map(([, name]) => name as string)),
      [...new Set(made)],
    )
  })
})

describe('metrics', () => {
  it('metrics.md has every metric, as the table has it', () => {
    const written = page('docs/metrics.md')
      .table('metric')
      .map((cells) => cells.map((cell) => cell.replaceAll('`', '').trim()))
    const real = Object.entries(METRICS).map(([name, { type, labels, help }]) => [name, type, labels.join(', '), help])
    expect(written).toEqual(real)
  })

  it('exist wherever an example names one', () => {
    for (const path of filesBelow('examples/prometheus'))
      for (const [name] of read(path).matchAll(/\b(?:reuseport|process|nodejs)_\w+/g))
        expect(Object.keys(METRICS), path).toContain(name)
  })
})

describe('pages', () => {
  it.each(pages)('$path: every link leads somewhere', ({ path, links }) => {
    for (const link of links.filter((one) => !/^https?:/.test(one))) {
      const [file, anchor] = link.split('#') as [string, string | undefined]
      const target = file === '' ? path : normalize(join(path, '..', file))
      expect(target.startsWith('..') || !existsSync(join(ROOT, target)), link).toBe(false)
      if (anchor !== undefined) expect(page(target).anchors, link).toContain(anchor)
    }
  })

  it.each(pages)('$path: every file that is named is there', ({ spans }) => {
    const named = spans
      .flatMap((span) => span.split(' '))
      .filter((word) => /^(\.ci|bench|docs|examples|native|scripts|src|test)\/[\w./-]*\w\/?$/.test(word))
    for (const path of named) expect(existsSync(join(ROOT, path)), path).toBe(true)
  })

  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const isThere = (path: string): boolean => existsSync(join(ROOT, path))

  /** null: the command can be run; else what is wrong with it. */
  function fault(words: readonly string[]): string | null {
    const [file, first = '', ...rest] = words
    if (file === 'npx' && first === 'reuseport-run') return fault([first, ...rest])
    if (file === 'npx') return isThere(`node_modules/.bin/${first}`) ? missingFile(rest) : `no program ${first}`
    if (file === 'npm' && first === 'run') return rest[0] !== undefined && rest[0] in scripts ? null : 'no such script'
    if (file === 'npm' && first === 'test') return missingFile(rest)
    if (file === 'node' && /^(scripts|bench)\//.test(first)) return isThere(first) ? missingFile(rest) : 'no such file'
    if (file !== 'reuseport-run') return null
    // The form of a command: its first word must be a verb all the same.
    if (words.some((word) => /[[\]…|]|^VERB$/.test(word)))
      return /^[a-z]+$/.test(first) && !(VERBS as readonly string[]).includes(first) ? 'no such verb' : null
    try {
      parseCommandLine(words.slice(1))
      return null
    } catch (error) {
      return (error as Error).message
    }
  }

  function missingFile(words: readonly string[]): string | null {
    const gone = words.filter((word) => /^(test|src|docs|examples)\//.test(word) && !isThere(word))
    return gone.length === 0 ? null : `no ${gone.join(', ')}`
  }

  /** Simple commands of a line of shell, without comments, redirections and assignments. */
  const commandsOf = (line: string): string[][] =>
    line
      .replace(/(^|\s)#.*$/, '')
      .replace(/^\$ /, '')
      .replace(/ &\s*$/, '')
      .split(/&&|\|\||;| \| |[()]/)
      .map((part) => part.trim().split(/\s+/))
      .map((words) => words.slice(words.findIndex((word) => !/^[A-Z_]+=/.test(word))))

  it.each(pages)('$path: every command exists', ({ code, spans }) => {
    const commands = [...code, ...spans].flatMap(commandsOf)
    for (const words of commands) expect(fault(words), words.join(' ')).toBeNull()
  })

  it('CONTRIBUTING.md has the system packages that the CI run installs', () => {
    const packages = [...read('.ci/run').matchAll(/^need \S+ (\S+)$/gm)].map(([, name]) => name as string)
    const line = page('CONTRIBUTING.md')
      .code.flatMap(commandsOf)
      .find(([file]) => file === 'apt-get')
    same(line?.slice(2) ?? [], packages)
  })

  it('the README leads to every page, by its list of them', () => {
    const list = page('README.md').section('Documents')
    const listed = [...list.matchAll(/\]\((docs\/[\w-]+\.md)\)/g)].map(([, path]) => path as string)
    same(
      listed,
      filesBelow('docs').filter((path) => path.endsWith('.md')),
    )
  })

  it('the README shows every verb', () => {
    const shown = page('README.md').code.flatMap(commandsOf)
    for (const verb of VERBS.filter((one) => one !== 'start'))
      expect(
        shown.some(([file, first]) => file === 'reuseport-run' && first === verb),
        verb,
      ).toBe(true)
  })
})
