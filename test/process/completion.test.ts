import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { OPTIONS, optionsOf, VERBS, WORDS } from '../../src/cli/option-table'
import { runCli, temporaryDirectory, userEnv } from '../support/launcher'
import { ROOT } from '../support/paths'

/** What each shell offers for the last word of a line, with the script that we print. */
const SHELLS = {
  bash: (script: string, words: readonly string[]): string[] =>
    lines(
      'bash',
      '-c',
      `${script}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _reuseport_run; printf '%s\\n' "\${COMPREPLY[@]}"`,
      'bash',
      ...words,
    ),
  // What it is told to offer, without a terminal: the functions that would ask zle are ours.
  zsh: (script: string, words: readonly string[]): string[] =>
    lines(
      'zsh',
      '-fc',
      `compdef() { }; _files() { }; _message() { }
       compadd() { shift; print -rl -- "$@" }
       _describe() { local each; for each in "\${(@P)2}"; do print -r -- "\${each%%:*}"; done }
       ${script}
       words=("$@") CURRENT=$#; _reuseport_run`,
      'zsh',
      ...words,
    ).filter((offer) => offer.startsWith(words.at(-1) as string)),
  fish: (script: string, words: readonly string[]): string[] => {
    const line = words.join(' ')
    const offers = lines('fish', '--no-config', '-c', `${script}\ncomplete -C ${JSON.stringify(line)}`)
    return offers.map((offer) => offer.split('\t')[0] as string)
  },
}

function lines(...[file, ...argv]: [string, ...string[]]): string[] {
  const { stdout, stderr, status } = spawnSync(file, argv, {
    encoding: 'utf8',
    cwd: temporaryDirectory(),
    env: { ...userEnv(), HOME: temporaryDirectory(), TERM: 'dumb' },
  })
  expect({ stderr, status: status === null ? status : 0 }).toEqual({ stderr: '', status: 0 })
  return stdout.split('\n').filter((one) => one !== '')
}

const sorted = (words: readonly string[]): string[] => [...new Set(words)].sort()

describe.each(Object.keys(SHELLS) as (keyof typeof SHELLS)[])('%s', (shell) => {
  let script = ''
  beforeAll(async () => {
    script = (await runCli(['completion', shell])).stdout
  })
  const offered = (...words: string[]): string[] => sorted(SHELLS[shell](script, ['reuseport-run', ...words]))
  const named = (verb: (typeof VERBS)[number]): string[] => optionsOf(verb).map(({ name }) => `--${name}`)

  it('takes the script without a word', () => {
    const path = join(temporaryDirectory(), 'script')
    writeFileSync(path, script)
    execFileSync(shell, ['-n', path])
  })

  it('offers the verbs', () => {
    expect(offered('re')).toEqual(['reload'])
    expect(offered('')).toEqual(expect.arrayContaining(VERBS.filter((verb) => verb !== 'start')))
  })

  it.each(VERBS)('offers the options of %s, and no others', (verb) => {
    const words = [...(verb === 'start' ? [] : [verb]), ...(WORDS[verb]?.slice(0, 1) ?? [])]
    const own = sorted(offered(...words, '--').filter((word) => word.startsWith('--')))
    expect(own).toEqual(sorted(named(verb)))
  })

  it('offers the words of a value, of a verb', () => {
    expect(offered('--balance', '')).toEqual(['client', 'cpu', 'hash', 'random'])
    expect(offered('reload', '--wait', 'b')).toEqual(['baked'])
    expect(offered('completion', '')).toEqual(expect.arrayContaining(['bash', 'fish', 'zsh']))
    expect(offered('-n', '4', '--name', 'reload', '--bala')).toEqual(['--balance'])
  })

  it('knows nothing of the program’s words', () => {
    for (const words of [
      ['node', '--ba'],
      ['--', 'reload', '--wa'],
      ['verify', 'app', '--ba'],
      ['reload', 'x', '--wa'],
    ])
      expect(offered(...words)).toEqual([])
  })
})

it('of every option something can be said', () => {
  expect(OPTIONS.filter(({ help }) => /[\n\t]/.test(help))).toEqual([])
})

it('the man page has no fault', () => {
  const page = join(ROOT, 'man', 'reuseport-run.1')
  const { stdout, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'error', page], { encoding: 'utf8' })
  expect({ stdout, status }).toEqual({ stdout: '', status: 0 })
})
