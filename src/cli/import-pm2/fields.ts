import { availableParallelism } from 'node:os'
import { type Imported, say } from './imported.js'

/** Every field that PM2 knows (its schema.json), but for those of the command; its other names come first. */
export const ALIASES: Readonly<Record<string, string>> = {
  exec: 'script',
  command: 'script',
  exec_interpreter: 'interpreter',
  interpreter_args: 'node_args',
  interpreterArgs: 'node_args',
  out: 'out_file',
  output: 'out_file',
  out_log: 'out_file',
  error: 'error_file',
  err: 'error_file',
  err_file: 'error_file',
  err_log: 'error_file',
  log: 'log_file',
  pid: 'pid_file',
  cron: 'cron_restart',
  combine_logs: 'merge_logs',
  user: 'uid',
}

/** Those that make the command, and those that are looked at before all else. */
export const ELSEWHERE: readonly string[] = [
  'script',
  'args',
  'interpreter',
  'node_args',
  'source_map_support',
  'name',
  'cwd',
  'env',
]

type Rule = (app: Imported, value: unknown, field: string) => void

/** Our default: what is shorter would refuse versions that PM2 lets in. */
const READY_TIMEOUT_MS = 60_000

const needless =
  (text: string): Rule =>
  (app, _value, field) =>
    say(app, field, 'needless', text)
const leftOut =
  (text: string): Rule =>
  (app, _value, field) =>
    say(app, field, 'left-out', text)
/** PM2's default, which is ours too, or the other value. */
const onlyIf =
  (is: unknown, rule: Rule, otherwise: string): Rule =>
  (app, value, field) =>
    value === is ? rule(app, value, field) : say(app, field, 'needless', otherwise)
const log: Rule = (app, value, field) =>
  value === false || value === '/dev/null'
    ? say(app, field, 'left-out', 'in the unit: StandardOutput=null')
    : say(
        app,
        field,
        'left-out',
        'one file has both streams: logFile, with logPrefix; or in the unit StandardOutput=append:FILE, StandardError=append:FILE',
      )
/** The one that has both streams in PM2, too. */
const logFile: Rule = (app, value, field) => {
  if (typeof value !== 'string' || value === '/dev/null') return log(app, false, field)
  Object.assign(app.config, { logFile: value, logPrefix: true })
  say(
    app,
    field,
    'differently',
    'logFile, logPrefix: with the lines of the launcher; SIGUSR1 opens it again after logrotate',
  )
}
const PLUS = 'of PM2 Plus, whose agent is not there'
const RESTARTS = 'a worker that ends is started again, later each time, and never given up (docs/limits.md)'

export const RULES: Readonly<Record<string, Rule>> = {
  instances: (app, value, field) => {
    const count = typeof value === 'string' && value !== 'max' ? Number(value) : value
    if (count === 'max' || count === 0) {
      app.config['workers'] = 'max'
      return say(app, field, 'taken', 'workers: "max"')
    }
    if (typeof count !== 'number' || !Number.isInteger(count)) return say(app, field, 'left-out', 'it is no number')
    app.config['workers'] = count > 0 ? count : Math.max(1, availableParallelism() + count)
    if (count > 0) say(app, field, 'taken', `workers: ${count}`)
    else
      say(
        app,
        field,
        'differently',
        `workers: ${app.config['workers']}, as many as there are CPUs here, less ${-count}`,
      )
  },
  exec_mode: (app, value, field) => {
    if (/^cluster/.test(String(value))) say(app, field, 'taken', 'every worker listens by itself, without a primary')
    else if (Number(app.config['workers'] ?? 1) === 1) say(app, field, 'needless', 'one worker')
    else say(app, field, 'differently', 'workers share the ports, as in cluster mode')
  },
  port: (app, value, field) => {
    app.env['PORT'] = String(value)
    say(app, field, 'taken', 'PORT in the environment file')
  },
  watch: (app, value, field) => {
    if (value === false) return say(app, field, 'needless', 'off unless asked for')
    app.config['watch'] = true
    if (value !== true) app.config['watchPath'] = Array.isArray(value) ? value.map(String) : [String(value)]
    say(
      app,
      field,
      'differently',
      `watch${value === true ? '' : ', watchPath'}: a reload, not a restart (docs/watch.md)`,
    )
  },
  ignore_watch: (app, value, field) => {
    app.config['watchIgnore'] = (Array.isArray(value) ? value : [value]).map(String)
    say(app, field, 'differently', 'watchIgnore: names and paths, no patterns; node_modules is ignored anyway')
  },
  watch_delay: (app, value, field) => {
    app.config['watchDelay'] = `${Number(value)}ms`
    say(app, field, 'taken', `watchDelay: "${Number(value)}ms"`)
  },
  watch_options: leftOut('options of chokidar, which is not there'),
  max_memory_restart: (app, value, field) => {
    const size = sizeOf(value)
    if (size === undefined) return say(app, field, 'left-out', 'it is no size')
    app.config['maxMemory'] = size
    say(app, field, 'taken', `maxMemory: "${size}"; another worker serves before it leaves`)
  },
  kill_timeout: (app, value, field) => {
    app.config['killAfter'] = `${Number(value)}ms`
    say(
      app,
      field,
      'taken',
      `killAfter: "${Number(value)}ms", from the stop signal on; that comes when its connections have ended`,
    )
  },
  wait_ready: (app, value, field) => {
    if (value !== true) return say(app, field, 'needless', 'off unless asked for')
    app.config['ready'] = 'message'
    say(app, field, 'taken', 'ready: "message"')
  },
  listen_timeout: (app, value, field) => {
    const text = 'what is not ready by then is refused here, where PM2 lets it in'
    if (Number(value) <= READY_TIMEOUT_MS) return say(app, field, 'differently', `60 s (readyTimeout): ${text}`)
    app.config['readyTimeout'] = `${Number(value)}ms`
    say(app, field, 'differently', `readyTimeout: "${Number(value)}ms": ${text}`)
  },
  shutdown_with_message: (app, value, field) =>
    value === true
      ? say(app, field, 'taken', 'compat: "pm2"')
      : say(
          app,
          field,
          'differently',
          'a program that listens for messages gets \'shutdown\' in place of SIGINT (compat: "pm2")',
        ),
  min_uptime: needless(RESTARTS),
  max_restarts: needless(RESTARTS),
  restart_delay: needless(RESTARTS),
  exp_backoff_restart_delay: needless(RESTARTS),
  autorestart: onlyIf(false, leftOut(`${RESTARTS}: a program that may end is a unit of its own`), RESTARTS),
  stop_exit_codes: leftOut(`${RESTARTS}, whatever its exit code`),
  cron_restart: (app, value, field) =>
    say(
      app,
      field,
      'left-out',
      `a line of crontab(5), or a systemd timer: ${String(value)} reuseport-run reload --name ${app.name}`,
    ),
  instance_var: (app, value, field) => {
    app.config['instanceVar'] = String(value)
    say(app, field, 'taken', `instanceVar: "${String(value)}"`)
  },
  increment_var: leftOut('no variable counts up; a program can add its number (NODE_APP_INSTANCE) to it by itself'),
  filter_env: leftOut(
    'the program has the environment of the launcher: start that without them (UnsetEnvironment= in the unit, or env -u)',
  ),
  pid_file: (app, value, field) => {
    app.config['pidFile'] = String(value)
    say(app, field, 'differently', 'pidFile: with the pid of the launcher, which is the one to send signals to')
  },
  uid: (app, value, field) => {
    app.config['user'] = typeof value === 'number' ? value : String(value)
    say(app, field, 'taken', 'user: the launcher must be started by root')
  },
  gid: (app, value, field) => {
    app.config['group'] = typeof value === 'number' ? value : String(value)
    say(app, field, 'taken', 'group')
  },
  out_file: log,
  error_file: log,
  log_file: logFile,
  disable_logs: onlyIf(true, log, 'off unless asked for'),
  merge_logs: needless('all workers write to one stdout, and one stderr'),
  log_date_format: needless('journald notes the time of each line'),
  time: needless('journald notes the time of each line'),
  log_type: leftOut("what the program writes is passed on as it is; logFormat is of the launcher's own lines"),
  append_env_to_name: needless('see name'),
  namespace: needless('a launcher is named by its name alone'),
  name_prefix: needless('see name'),
  force: needless('a name can be taken once; another name is another launcher'),
  autostart: onlyIf(false, leftOut('do not enable its unit'), 'by its unit'),
  treekill: needless('the stop signal goes to the process that listens, SIGKILL to its whole process group'),
  kill_retry_time: needless('nobody asks again and again whether it has ended'),
  vizion: needless('nothing reads the version control'),
  versioning: needless('nothing reads the version control'),
  disable_source_map_support: needless('off unless asked for'),
  windowsHide: needless('of Windows'),
  username: needless('of PM2 itself'),
  write: needless('of PM2 itself'),
  execute_command: needless('of PM2 itself'),
  install_url: needless('of PM2 itself'),
  pmx: needless(PLUS),
  automation: needless(PLUS),
  trace: needless(PLUS),
  disable_trace: needless(PLUS),
  v8: needless(PLUS),
  event_loop_inspector: needless(PLUS),
  deep_monitoring: needless(PLUS),
  io: needless(PLUS),
  post_update: leftOut('commands after an update are for what deploys: there, before reuseport-run reload'),
}

/** PM2's K, M and G are of 1024, as ours; a number alone is bytes. */
function sizeOf(value: unknown): string | undefined {
  const [, number, unit = ''] = /^(\d+)([KMG]?)B?$/i.exec(String(value).trim()) ?? []
  if (number === undefined || Number(number) === 0) return undefined
  if (unit !== '') return `${number}${unit.toUpperCase()}`
  const bytes = Number(number)
  return bytes % 2 ** 20 === 0 ? `${bytes / 2 ** 20}M` : `${Math.ceil(bytes / 1_024)}K`
}
