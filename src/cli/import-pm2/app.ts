import { basename, dirname, extname, resolve } from 'node:path'
import { nearest } from '../nearest.js'
import { takeCommand } from './command.js'
import { ALIASES, ELSEWHERE, RULES } from './fields.js'
import { type Imported, say } from './imported.js'

type Fields = Readonly<Record<string, unknown>>

/** One program. `chosen`: as `pm2 start --env` would name it. */
export function importApp(given: Fields, path: string, chosen: string | undefined): Imported {
  const names = new Map<string, string>()
  const fields: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given)) {
    const name = ALIASES[key] ?? key
    if (value === undefined || value === null || (name in fields && key !== name)) continue
    fields[name] = value
    names.set(name, key)
  }
  const cwd = fields['cwd']
  const directory = resolve(dirname(path), typeof cwd === 'string' ? cwd : '.')
  const app: Imported = { name: 'app', directory, config: {}, env: {}, lines: [] }
  takeName(app, fields, chosen)
  // Ahead of the other ones: it is what they are about.
  app.config['command'] = []
  app.config['compat'] = 'pm2'
  const before = app.lines.length
  takeCommand(app, {
    script: fields['script'],
    args: fields['args'],
    interpreter: fields['interpreter'],
    node_args: fields['node_args'],
    source_map_support: fields['source_map_support'],
  })
  // As the file has them.
  for (const [index, line] of app.lines.entries())
    if (index >= before) app.lines[index] = { ...line, field: names.get(line.field) ?? line.field }
  if (cwd !== undefined)
    say(
      app,
      'cwd',
      'differently',
      `start it in ${directory} (WorkingDirectory= of a unit), and a symlink is followed at each reload`,
    )
  takeEnvironment(app, fields, chosen)
  for (const [name, value] of Object.entries(fields)) {
    if (ELSEWHERE.includes(name) || name.startsWith('env_')) continue
    const field = names.get(name) as string
    const rule = RULES[name]
    if (rule !== undefined) rule(app, value, field)
    else say(app, field, 'left-out', unknown(name))
  }
  if (app.config['user'] === undefined) takeNoGroup(app)
  return app
}

/** A group is that of a user. */
function takeNoGroup(app: Imported): void {
  delete app.config['group']
  const index = app.lines.findIndex(({ field }) => field === 'gid')
  if (index >= 0) app.lines[index] = { field: 'gid', fate: 'left-out', text: 'name the user, too' }
}

function unknown(name: string): string {
  const near = nearest(name, [...Object.keys(RULES), ...ELSEWHERE, ...Object.keys(ALIASES)])
  return `PM2 has no such field${near === undefined ? '' : `; was ${near} meant?`}`
}

function takeName(app: Imported, fields: Fields, chosen: string | undefined): void {
  const { name, script, name_prefix: prefix, append_env_to_name: appends } = fields
  const own = name ?? basename(String(script ?? 'app'), extname(String(script ?? '')))
  const whole = [prefix, own, appends === true ? chosen : undefined].filter((part) => part !== undefined).join('-')
  const fit = whole.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 64)
  app.name = /^\.*$/.test(fit) ? 'app' : fit
  app.config['name'] = app.name
  if (name === undefined) return
  if (app.name === name) say(app, 'name', 'taken', `name: "${app.name}"`)
  else say(app, 'name', 'differently', `name: "${app.name}"`)
}

/** Its values are never shown: they may be secrets. */
function takeEnvironment(app: Imported, fields: Fields, chosen: string | undefined): void {
  const add = (field: string, value: unknown): void => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return say(app, field, 'left-out', 'it is no list of names and values')
    const entries = Object.entries(value).filter(([, one]) => one !== null && one !== undefined)
    for (const [name, one] of entries) app.env[name] = typeof one === 'object' ? JSON.stringify(one) : String(one)
    const list = entries.map(([name]) => name).join(', ')
    const text = `${list}: in the environment file, which is read again at each reload. What the launcher's own environment has counts before it`
    say(app, field, 'differently', entries.length === 0 ? 'it is empty' : text)
  }
  if (fields['env'] !== undefined) add('env', fields['env'])
  for (const [field, value] of Object.entries(fields)) {
    if (!field.startsWith('env_')) continue
    if (field === `env_${chosen}`) add(field, value)
    else
      say(
        app,
        field,
        'needless',
        `for --env ${field.slice('env_'.length)}: import once more with it, where that is meant`,
      )
  }
}
