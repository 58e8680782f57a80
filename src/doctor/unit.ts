/** What a unit is filled in with. */
export interface UnitFacts {
  readonly name: string
  readonly directory: string
  /** As whom the launcher runs; null: as root. */
  readonly user: string | null
  /** The words that run reuseport-run: its file, or node and its file. */
  readonly program: readonly string[]
  /** Of a start, behind `--name`. */
  readonly options: readonly string[]
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly runtimeDir: string | undefined
  readonly workers: number
}

/** From here on systemd says that it keeps sockets, and knows a reload by a signal alone. */
const NEW = 254
/** A socket of each worker, for a few ports. */
const STORE_PER_WORKER = 8
const LEAST_STORE = 64

/** A unit for systemd (docs/systemd.md says what each line is for); `version`: which one it is for. */
export function unitOf(facts: UnitFacts, version: number): string {
  const { name, directory, user, command, options, runtimeDir } = facts
  const program = facts.program.map(quote).join(' ')
  const verbs = ['--name', name, ...(runtimeDir === undefined ? [] : ['--runtime-dir', runtimeDir])].map(quote)
  const start = ['--name', name, ...options, ...(command.length === 0 ? [] : ['--', ...command])].map(quote)
  const isNew = version >= NEW
  const store = Math.max(LEAST_STORE, STORE_PER_WORKER * facts.workers)
  const environment = Object.entries({ PWD: directory, ...facts.environment }).map(([key, value]) => assign(key, value))
  const lines = [
    isNew ? '# For systemd 254 and newer.' : '# For systemd before 254 (Debian 12, RHEL 9, Ubuntu 22.04).',
    '[Unit]',
    `Description=${plain(name)}`,
    'After=network.target',
    '',
    '[Service]',
    `Type=${isNew ? 'notify-reload' : 'notify'}`,
    'NotifyAccess=main',
    ...(user === null ? [] : [`User=${user}`]),
    `WorkingDirectory=${plain(directory)}`,
    '# The name of the directory, which each reload follows anew: systemd itself says where it led at the start.',
    `Environment=${environment.join(' ')}`,
    `RuntimeDirectory=${name}`,
    `ExecStart=${program} ${start.join(' ')}`,
    ...(isNew ? [] : [`ExecReload=${program} reload ${verbs.join(' ')}`]),
    '# What is left of a launcher that was killed serves on until the next one adopts it. Was it a stop, nothing must be left.',
    `ExecStopPost=-/bin/sh -c 'case "$$SERVICE_RESULT" in success|timeout) exec ${program} stop ${verbs.join(' ')};; esac'`,
    '# Of a launcher that has died, the workers live: not control-group, not mixed.',
    'KillMode=process',
    '# A worker that is out of memory is started again by the launcher.',
    'OOMPolicy=continue',
    'Restart=always',
    '# A wrong command line is the same again.',
    'RestartPreventExitStatus=2',
    'RuntimeDirectoryPreserve=yes',
    `FileDescriptorStoreMax=${store}`,
    ...(isNew ? [] : ['# From 254 on systemd says so itself.', `Environment=FDSTORE=${store}`]),
    'WatchdogSec=30',
    'LimitNOFILE=65536',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ]
  return `${lines.join('\n')}\n`
}

/** A word of a command line (systemd.service(5), "Command lines"): `%` and `$` mean something to systemd. */
function quote(word: string): string {
  const text = plain(word).replaceAll('$', '$$$$')
  return /^[\w@%+=:,./$-]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** In Environment= a `$` means nothing. */
function assign(key: string, value: string): string {
  const text = `${key}=${plain(value)}`
  return /[\s"'\\]/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : text
}

/** `%` begins a specifier (systemd.unit(5)). */
function plain(text: string): string {
  return text.replaceAll('%', '%%').replaceAll('\n', ' ')
}
