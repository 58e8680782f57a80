import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import { importApp } from './import-pm2/app.js'
import { envText } from './import-pm2/env-text.js'
import { type Fate, type Imported, say } from './import-pm2/imported.js'
import { readEcosystem } from './import-pm2/read.js'
import type { Settled } from './settle.js'
import { text } from './values.js'

/** What one program becomes: two files, and how it is started. */
interface Files {
  readonly app: Imported
  readonly config: string
  /** null: it has no environment of its own. */
  readonly env: string | null
  readonly start: string
}

/** Says what an ecosystem file of PM2 is here; with --out writes it. */
export async function importPm2(line: Settled): Promise<number> {
  const directory = logicalDirectory()
  const { path, apps, deploys } = await readEcosystem(line.command[0] as string, directory)
  const chosen = text(line.values, 'env')
  const all = apps.map((app) => importApp(app, path, chosen))
  const only = text(line.values, 'app')
  const wanted = all.filter(({ name }) => only === undefined || name === only)
  if (wanted.length === 0)
    throw new ReuseportError('ERR_CONFIG', `${path} has no program ${JSON.stringify(only)}`, {
      facts: { path, names: all.map(({ name }) => name) },
      next: `It has ${all.map(({ name }) => name).join(', ')}.`,
    })
  const out = text(line.values, 'out')
  const to = out === undefined ? undefined : resolve(directory, out)
  const files = wanted.map((app) => filesOf(app, to, wanted.length > 1))
  const isWhole = !deploys && wanted.every(({ lines }) => lines.every(({ fate }) => fate !== 'left-out'))
  if (to !== undefined) write(files, to, line.values['force'] === true)
  if (line.values['json'] === true)
    process.stdout.write(`${JSON.stringify(asJson(path, files, { deploys, isWhole }))}\n`)
  else process.stdout.write(describe(path, files, { deploys, isWritten: to !== undefined }))
  return isWhole ? 0 : 1
}

/** The one program of a directory is found there by itself; of several each has its own name. */
function filesOf(app: Imported, out: string | undefined, isOneOfMany: boolean): Files {
  const to = out ?? app.directory
  const config = join(to, isOneOfMany ? `${app.name}.config.json` : 'reuseport-run.config.json')
  const { text: lines, without } = envText(app.env)
  for (const name of without)
    say(app, `env.${name}`, 'left-out', 'it cannot stand in an environment file: Environment= of the unit')
  const env = lines === '' ? null : join(to, `${app.name}.env`)
  if (env !== null) app.config['envFile'] = [env]
  const named = isOneOfMany || to !== app.directory ? ` --config ${config}` : ''
  return { app, config, env, start: `cd ${app.directory} && reuseport-run${named}` }
}

/** All of them, or none. */
function write(files: readonly Files[], directory: string, isForced: boolean): void {
  const paths = files.flatMap(({ config, env }) => [config, ...(env === null ? [] : [env])])
  const there = paths.filter((path) => existsSync(path))
  if (there.length > 0 && !isForced)
    throw new ReuseportError('ERR_CONFIG', `${there.join(' and ')} ${there.length > 1 ? 'are' : 'is'} there already`, {
      facts: { files: there },
      next: 'Give another directory with --out, or --force to write over them.',
    })
  mkdirSync(directory, { recursive: true })
  for (const { app, config, env } of files) {
    if (env !== null) writeSecretly(env, envText(app.env).text)
    writeFileSync(config, `${JSON.stringify(app.config, null, 2)}\n`)
  }
}

/** Nobody else can read it, not for a moment. */
function writeSecretly(path: string, lines: string): void {
  const { chmodSync } = require('node:fs') as typeof import('node:fs')
  if (existsSync(path)) chmodSync(path, 0o600)
  writeFileSync(path, lines, { mode: 0o600 })
}

const FATES: Readonly<Record<Fate, string>> = {
  taken: 'taken over',
  differently: 'differently',
  needless: 'not needed',
  'left-out': 'LEFT OUT',
}

function describe(
  path: string,
  files: readonly Files[],
  { deploys, isWritten }: { deploys: boolean; isWritten: boolean },
): string {
  const parts = files.map(({ app, config, env, start }) => {
    const width = Math.max(...app.lines.map(({ field }) => field.length))
    const lines = app.lines.map(
      ({ field, fate, text: why }) => `  ${FATES[fate].padEnd(11)} ${field.padEnd(width)}  ${why}`,
    )
    const made = isWritten
      ? [`written: ${config}${env === null ? '' : `, ${env} (0600)`}`]
      : [
          `${config}:`,
          ...JSON.stringify(app.config, null, 2)
            .split('\n')
            .map((one) => `  ${one}`),
          ...(env === null ? [] : [`${env}: ${Object.keys(app.env).join(', ')} (--out writes it, with mode 0600)`]),
        ]
    return `${app.name}\n${lines.join('\n')}\n\n${made.join('\n')}\nstart: ${start}\n`
  })
  const deploy = deploys
    ? [`deploy\n  ${FATES['left-out']} keep what copies the files, and end it with: reuseport-run reload\n`]
    : []
  const count = files.flatMap(({ app }) => app.lines).filter(({ fate }) => fate === 'left-out').length + deploy.length
  const sum = count === 0 ? 'nothing was left out' : `${count} left out: each says what to do instead`
  return `${[`${path}\n`, ...parts, ...deploy].join('\n')}\n${sum}\n`
}

function asJson(
  path: string,
  files: readonly Files[],
  { deploys, isWhole }: { deploys: boolean; isWhole: boolean },
): unknown {
  return {
    schema: 1,
    file: path,
    complete: isWhole,
    deploy: deploys ? 'left-out' : null,
    apps: files.map(({ app, config, env, start }) => ({
      name: app.name,
      directory: app.directory,
      start,
      files: { config, env },
      config: app.config,
      // Names alone: values may be secrets.
      variables: Object.keys(app.env),
      fields: app.lines,
    })),
  }
}
