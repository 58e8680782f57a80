/** Every option of every verb: parsing, help and the checks that name them come from this one table. */
export interface OptionRow {
  readonly name: string
  readonly short?: string
  /** How its value is written: words as they are, in capitals what stands for something (`TIME`, `N`); absent: a switch. */
  readonly value?: string
  /** Of a value that is a number. */
  readonly least?: number
  readonly most?: number
  /** May be given again and again. */
  readonly multiple?: boolean
  /** The heading that it stands under. */
  readonly group: Group
  readonly verbs: readonly Verb[]
  /** What counts without it. A value of it comes first, if it is one; what is said after ";" is for people. */
  readonly default?: string
  readonly help: string
  /** The page in docs/ that says more. */
  readonly see?: string
}

export type Group = keyof typeof GROUPS
/** In the order in which they are shown. */
export const GROUPS = {
  launcher: 'The launcher',
  workers: 'Workers',
  program: 'The program',
  readiness: 'Readiness and health',
  reload: 'How a reload goes',
  drain: 'How an old worker ends',
  order: 'This order',
  load: 'Load',
  other: 'Other',
} as const

export type Verb =
  | 'start'
  | 'reload'
  | 'scale'
  | 'status'
  | 'stop'
  | 'upgrade'
  | 'verify'
  | 'doctor'
  | 'events'
  | 'config'
  | 'completion'
export const VERBS: readonly Verb[] = [
  'start',
  'reload',
  'scale',
  'status',
  'events',
  'stop',
  'upgrade',
  'verify',
  'doctor',
  'config',
  'completion',
]

/** The words that come after a verb. */
export const WORDS: Readonly<Partial<Record<Verb, readonly string[]>>> = {
  config: ['print', 'check'],
  completion: ['bash', 'zsh', 'fish'],
}

const RUNS: readonly Verb[] = ['start', 'verify']
const ALL: readonly Verb[] = VERBS
/** They start a launcher, or find one. */
const FINDS: readonly Verb[] = ['start', 'reload', 'scale', 'status', 'events', 'stop', 'upgrade']
/** They look for a config file. */
const CONFIGURED: readonly Verb[] = [...FINDS, 'verify']

export const OPTIONS: readonly OptionRow[] = [
  {
    name: 'name',
    value: 'NAME',
    group: 'launcher',
    verbs: FINDS,
    default: 'name in package.json, else the directory',
    help: 'names this launcher',
  },
  {
    name: 'config',
    value: 'FILE',
    group: 'launcher',
    verbs: CONFIGURED,
    default: 'reuseport-run.config.json, .js, .mjs, .cjs, .ts or .mts in this directory',
    help: 'says what else the command line would say',
    see: 'config.md',
  },
  { name: 'no-config', group: 'launcher', verbs: CONFIGURED, help: 'there is none, or it is to be left alone' },
  {
    name: 'runtime-dir',
    value: 'DIR',
    group: 'launcher',
    verbs: FINDS,
    default: '$RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/reuseport-run, /run/reuseport-run, /tmp/reuseport-run-UID',
    help: 'where the lock and the sockets lie',
  },
  {
    name: 'pid-file',
    value: 'FILE',
    group: 'launcher',
    verbs: ['start'],
    help: "a file that has the launcher's pid while it runs",
  },
  {
    name: 'log-file',
    value: 'FILE',
    group: 'launcher',
    verbs: ['start'],
    default: 'they go to stderr',
    help: "where the launcher's own lines go; SIGUSR1 opens it again by its name, after it was moved away",
    see: 'log.md',
  },
  {
    name: 'log-format',
    value: 'text|json',
    group: 'launcher',
    verbs: ['start'],
    default: 'text',
    help: "the launcher's own lines on stderr",
    see: 'log.md',
  },
  {
    name: 'orphan-timeout',
    value: 'TIME',
    group: 'launcher',
    verbs: ['start'],
    default: 'never',
    help: 'a worker whose launcher is gone, and that no other one has taken over by then, drains and ends',
    see: 'launcher-death.md',
  },
  {
    name: 'die-with-launcher',
    group: 'launcher',
    verbs: ['start'],
    help: 'workers are killed when their launcher dies, instead of serving on until the next one takes them over',
    see: 'launcher-death.md',
  },
  {
    name: 'workers',
    short: 'n',
    value: 'N|max',
    least: 1,
    most: 1_024,
    group: 'workers',
    verbs: RUNS,
    default: '1; $WEB_CONCURRENCY if it is set; verify: 2',
    help: 'workers, each with a socket of its own; max: one per CPU',
  },
  {
    name: 'balance',
    value: 'hash|random|client|cpu',
    group: 'workers',
    verbs: RUNS,
    default: 'hash',
    help: "what chooses the worker of a new connection: the kernel's hash, chance, the client's address, or the CPU that its packets come to",
    see: 'scale.md#who-gets-which-connection',
  },
  {
    name: 'standby',
    value: 'N',
    most: 64,
    group: 'workers',
    verbs: RUNS,
    default: '0',
    help: 'so many workers more that have proven themselves and wait: one takes the place of a worker that dies, at once',
    see: 'scale.md',
  },
  {
    name: 'park',
    value: 'TIME',
    group: 'workers',
    verbs: RUNS,
    default: '5s',
    help: 'accept from the sockets of a worker that was scaled away for this long at least, before they are closed',
  },
  {
    name: 'udp-linger',
    value: 'TIME',
    group: 'drain',
    verbs: RUNS,
    default: '0',
    help: 'UDP: clients that an old worker has heard from within this time stay with it for as long after the handover (docs/library.md)',
  },
  {
    name: 'hang-timeout',
    value: 'TIME',
    group: 'workers',
    verbs: RUNS,
    default: '2s',
    help: 'the siblings of a worker whose event loop stands still this long accept what waits for it, until it turns again; 0: off',
  },
  {
    name: 'hang-kill',
    value: 'TIME',
    group: 'workers',
    verbs: RUNS,
    default: '30s',
    help: 'it is killed after this, and started again, if another worker is well; 0: never',
  },
  {
    name: 'user',
    value: 'NAME|UID',
    group: 'program',
    verbs: ['start'],
    default: 'as the launcher',
    help: 'workers run as this user, without a way back; the launcher, which must be root, opens the sockets first',
    see: 'privileges.md',
  },
  {
    name: 'group',
    value: 'NAME|GID',
    group: 'program',
    verbs: ['start'],
    default: 'that of --user in the user database',
    help: 'their group',
    see: 'privileges.md',
  },
  {
    name: 'ports',
    value: 'PORT,…',
    group: 'program',
    verbs: RUNS,
    default: 'every port but 0, and unix paths',
    help: 'manage these ports only, TCP and UDP; the program keeps all others to itself',
  },
  {
    name: 'listen',
    value: '[NAME=]ADDRESS',
    multiple: true,
    group: 'program',
    verbs: RUNS,
    default: 'the program is a Node program, and listens by itself',
    help: 'any program, in any language: it is given this socket when it is started (LISTEN_FDS). tcp:3000, tcp:127.0.0.1:3000, udp:5353, unix:/run/app.sock, or fd:NAME, one that systemd has given; may be given again',
    see: 'any-program.md',
  },
  {
    name: 'env-file',
    value: 'FILE',
    multiple: true,
    group: 'program',
    verbs: RUNS,
    help: 'environment of the program, read again at each reload; may be given again, the last one wins',
  },
  {
    name: 'compat',
    value: 'pm2',
    group: 'program',
    verbs: RUNS,
    default: 'not',
    help: "give the program what PM2 gives it: process.send, and the message 'shutdown' in place of the stop signal if it listens for messages",
  },
  {
    name: 'ready-timeout',
    value: 'TIME',
    group: 'readiness',
    verbs: RUNS,
    default: '60s',
    help: 'a worker must be ready, and have answered its health check, within this',
  },
  {
    name: 'ready',
    value: 'listening|message|notify|alive:TIME',
    group: 'readiness',
    verbs: RUNS,
    default: 'listening; with --listen alive:1s',
    help: "what a worker must say beside 'listening': message: process.send('ready'); notify: READY=1 on $NOTIFY_SOCKET; alive:TIME, with --listen: nothing, but it must run so long",
    see: 'library.md',
  },
  {
    name: 'health',
    value: 'PATH|tcp',
    group: 'readiness',
    verbs: RUNS,
    default: 'not asked',
    help: 'a new worker must answer GET PATH, over a connection of its own, before it gets any other; tcp: must accept one',
    see: 'health.md',
  },
  {
    name: 'health-command',
    value: 'COMMAND',
    group: 'readiness',
    verbs: RUNS,
    help: 'in place of --health: a shell command that must exit with 0; $HEALTH_SOCKET is a unix socket that leads to that worker',
    see: 'health.md',
  },
  {
    name: 'health-port',
    value: 'PORT',
    group: 'readiness',
    verbs: RUNS,
    default: 'the first that the program opened',
    help: 'ask the server on this port',
  },
  {
    name: 'health-host',
    value: 'HOST',
    group: 'readiness',
    verbs: RUNS,
    default: 'localhost',
    help: 'Host, and the name for TLS',
  },
  {
    name: 'health-header',
    value: "'NAME: VALUE'",
    multiple: true,
    group: 'readiness',
    verbs: RUNS,
    help: 'a further header of that request; may be given again',
  },
  {
    name: 'health-status',
    value: 'CODE[-CODE],…',
    group: 'readiness',
    verbs: RUNS,
    default: '200-299',
    help: 'good answers',
  },
  {
    name: 'health-timeout',
    value: 'TIME',
    group: 'readiness',
    verbs: RUNS,
    default: '1s',
    help: 'an answer must be complete within this',
  },
  {
    name: 'health-interval',
    value: 'TIME',
    group: 'readiness',
    verbs: RUNS,
    default: '250ms',
    help: 'between one try and the next',
  },
  {
    name: 'health-successes',
    value: 'N',
    least: 1,
    group: 'readiness',
    verbs: RUNS,
    default: '2',
    help: 'good answers in a row that are proof',
  },
  {
    name: 'health-failures',
    value: 'N',
    least: 1,
    group: 'readiness',
    verbs: RUNS,
    default: '3',
    help: 'bad answers in a row that are a failure of a worker that serves',
  },
  {
    name: 'liveness',
    value: 'TIME',
    group: 'readiness',
    verbs: RUNS,
    default: 'until the bake has ended',
    help: 'ask each worker this often for as long as it serves',
    see: 'health.md',
  },
  {
    name: 'warmup',
    value: 'N:PATH,…',
    group: 'readiness',
    verbs: RUNS,
    default: 'not',
    help: 'ask a new worker N times for these paths in turns, over connections of its own, before it is admitted: no client waits for its compilers and caches',
    see: 'health.md#warm-up',
  },
  {
    name: 'warmup-concurrency',
    value: 'N',
    least: 1,
    most: 64,
    group: 'readiness',
    verbs: RUNS,
    default: '4',
    help: 'over so many connections at a time',
  },
  {
    name: 'warmup-timeout',
    value: 'TIME',
    group: 'readiness',
    verbs: RUNS,
    default: '10s',
    help: 'it is admitted after this, however warm',
  },
  {
    name: 'strategy',
    value: 'all|rolling',
    group: 'reload',
    verbs: RUNS,
    default: 'all',
    help: 'all: every new worker proves itself, then all take over together; rolling: slot by slot, for memory',
  },
  {
    name: 'surge',
    value: 'N',
    least: 1,
    group: 'reload',
    verbs: RUNS,
    default: 'rolling: 1; all: all',
    help: 'rolling: at most so many workers more than usual; all: so many start at one time',
  },
  {
    name: 'bake',
    value: 'TIME',
    group: 'reload',
    verbs: RUNS,
    default: '5s; verify: 0',
    help: 'keep the old version this long after the handover, and go back to it if the new one fails',
  },
  {
    name: 'bake-max-5xx',
    value: 'SHARE%',
    group: 'reload',
    verbs: RUNS,
    default: 'not counted',
    help: 'in the bake more 5xx answers than this are a failure of the new version',
  },
  {
    name: 'bake-migrate',
    group: 'reload',
    verbs: RUNS,
    help: 'idle HTTP/1.1 connections go to the new version at the handover already: what has moved dies with a version that crashes in the bake',
  },
  {
    name: 'drain-timeout',
    value: 'TIME',
    group: 'drain',
    verbs: RUNS,
    default: '30s',
    help: 'an old worker may finish what it has for this long',
  },
  {
    name: 'no-migrate',
    group: 'drain',
    verbs: RUNS,
    help: 'idle HTTP/1.1 connections of an old worker are told to close, instead of going on in the new one',
  },
  {
    name: 'websocket',
    value: 'close|keep',
    group: 'drain',
    verbs: RUNS,
    default: 'close',
    help: 'WebSockets of an old worker: close them politely, with 1012; keep: at the end of --drain-timeout only',
  },
  {
    name: 'drain-spread',
    value: 'TIME',
    group: 'drain',
    verbs: RUNS,
    default: '5s',
    help: 'close them over this time, at most half of --drain-timeout, so that not all clients come back at once',
  },
  {
    name: 'stop-signal',
    value: 'SIGNAL',
    group: 'drain',
    verbs: RUNS,
    default: 'SIGTERM',
    help: 'what ends a worker when its connections are gone: SIGTERM, SIGINT, SIGQUIT, SIGHUP or SIGUSR2',
  },
  {
    name: 'kill-after',
    value: 'TIME',
    group: 'drain',
    verbs: RUNS,
    default: '5s',
    help: 'SIGKILL this long after the stop signal',
  },
  {
    name: 'wait',
    value: 'admitted|baked|retired',
    group: 'order',
    verbs: ['reload'],
    default: 'baked',
    help: 'return when the new workers serve, when the bake has ended, or when the old ones have gone',
  },
  { name: 'no-wait', group: 'order', verbs: ['reload'], help: 'return when the reload is queued' },
  {
    name: 'canary',
    value: 'SHARE%',
    group: 'order',
    verbs: ['reload'],
    help: 'first one new worker gets this share of the new connections, and is watched; if it does well all others follow, else it is undone',
    see: 'canary.md',
  },
  {
    name: 'for',
    value: 'TIME',
    group: 'order',
    verbs: ['reload'],
    default: '2m',
    help: 'watch the canary this long',
  },
  {
    name: 'canary-by',
    value: 'random|client',
    group: 'order',
    verbs: ['reload'],
    default: 'random',
    help: "which connections are its: chance, or by the client's address the same clients always",
  },
  {
    name: 'canary-max-5xx',
    value: 'SHARE%',
    group: 'order',
    verbs: ['reload'],
    default: 'as --bake-max-5xx of the launcher',
    help: 'more 5xx answers of it than this undo it',
  },
  {
    name: 'canary-max-latency',
    value: 'TIMES',
    group: 'order',
    verbs: ['reload'],
    default: 'not judged',
    help: 'answers that take so many times as long as those of the others (95 % of each) undo it',
  },
  {
    name: 'promote',
    group: 'order',
    verbs: ['reload'],
    help: 'the canary that is watched has done well: go on with all others now',
  },
  {
    name: 'abort',
    group: 'order',
    verbs: ['reload'],
    help: 'give the reload that runs up, or undo it, whatever step it is in',
  },
  {
    name: 'timeout',
    value: 'TIME',
    group: 'order',
    verbs: ['reload', 'scale', 'stop', 'upgrade'],
    default: 'never',
    help: 'give up waiting after this; the launcher goes on',
  },
  {
    name: 'json',
    group: 'order',
    verbs: ['reload', 'scale', 'status', 'upgrade', 'verify', 'doctor', 'config'],
    help: 'print JSON',
  },
  {
    name: 'unit',
    group: 'order',
    verbs: ['doctor'],
    help: 'print a systemd unit that starts it with these words',
    see: 'systemd.md',
  },
  {
    name: 'watch',
    group: 'order',
    verbs: ['status'],
    help: 'look again and again, with requests per second; q ends it',
  },
  {
    name: 'interval',
    value: 'TIME',
    group: 'order',
    verbs: ['status'],
    default: '1s',
    help: 'between one look of --watch and the next',
  },
  {
    name: 'reloads',
    value: 'N',
    least: 1,
    group: 'load',
    verbs: ['verify'],
    default: '20',
    help: 'reloads under load',
  },
  {
    name: 'min-requests',
    value: 'N',
    group: 'load',
    verbs: ['verify'],
    default: '0',
    help: 'go on until at least this many requests were made',
  },
  {
    name: 'connections',
    value: 'N',
    least: 1,
    group: 'load',
    verbs: ['verify'],
    default: '16',
    help: 'clients of each kind',
  },
  { name: 'path', value: 'PATH', group: 'load', verbs: ['verify'], default: '/', help: 'what the clients ask for' },
  {
    name: 'upload-path',
    value: 'PATH|none',
    group: 'load',
    verbs: ['verify'],
    default: 'as --path',
    help: 'where the clients that upload send their POST; none: no uploads',
  },
  {
    name: 'listener',
    value: 'ADDRESS',
    group: 'load',
    verbs: ['verify'],
    default: 'the first over TCP that no other option names',
    help: 'which listener gets plain HTTP/1.1: a port, or an address as `status` prints it',
  },
  {
    name: 'https',
    value: 'ADDRESS',
    group: 'load',
    verbs: ['verify'],
    help: 'a listener that gets HTTPS clients, too',
  },
  {
    name: 'http2',
    value: 'ADDRESS',
    group: 'load',
    verbs: ['verify'],
    help: 'a listener that gets HTTP/2 clients (TLS), too',
  },
  {
    name: 'h2c',
    value: 'ADDRESS',
    group: 'load',
    verbs: ['verify'],
    help: 'a listener that gets HTTP/2 clients without TLS, too',
  },
  {
    name: 'websocket-path',
    value: 'PATH',
    group: 'load',
    verbs: ['verify'],
    help: 'a path for clients that hold a WebSocket, and ping',
  },
  {
    name: 'echo',
    group: 'load',
    verbs: ['verify'],
    help: 'the program sends each WebSocket message back: send messages, not pings',
  },
  {
    name: 'sse-path',
    value: 'PATH',
    group: 'load',
    verbs: ['verify'],
    help: 'a path for clients that hold an event stream',
  },
  {
    name: 'clients',
    value: 'KIND[=N],…',
    group: 'load',
    verbs: ['verify'],
    default: 'all that the other options make possible',
    help: 'only these kinds of clients, N of each',
    see: 'verify-command.md#clients',
  },
  {
    name: 'allow-closed',
    group: 'load',
    verbs: ['verify'],
    help: 'plain keep-alive connections may be closed: the program does so by itself',
  },
  {
    name: 'network',
    value: 'private|shared',
    group: 'load',
    verbs: ['verify'],
    default: 'private',
    help: "private: a network namespace of its own, if it may; shared: the program reaches this machine's other services",
  },
  {
    name: 'slow-path',
    value: 'PATH',
    group: 'load',
    verbs: ['verify'],
    help: 'a slow endpoint of the program, asked for by clients of its own',
  },
  { name: 'help', short: 'h', group: 'other', verbs: ALL, help: 'this text' },
  { name: 'version', short: 'v', group: 'other', verbs: ALL, help: 'the version' },
]

export function optionsOf(verb: Verb): OptionRow[] {
  return OPTIONS.filter(({ verbs }) => verbs.includes(verb) || (isLikeStart(verb) && verbs.includes('start')))
}

/** They look at what a start with the same words would meet. */
export function isLikeStart(verb: Verb): boolean {
  return verb === 'doctor' || verb === 'config'
}
