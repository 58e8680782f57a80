/** Every option of every verb: parsing, help and the checks that name them come from this one table. */
export interface OptionRow {
  readonly name: string
  readonly short?: string
  /** Name of the value in the help; absent: a switch. */
  readonly value?: string
  /** May be given again and again. */
  readonly multiple?: boolean
  readonly verbs: readonly Verb[]
  readonly help: string
}

export type Verb = 'start' | 'reload' | 'scale' | 'status' | 'stop' | 'verify'
export const VERBS: readonly Verb[] = ['start', 'reload', 'scale', 'status', 'stop', 'verify']

const RUNS: readonly Verb[] = ['start', 'verify']
const ALL: readonly Verb[] = VERBS

export const OPTIONS: readonly OptionRow[] = [
  {
    name: 'workers',
    short: 'n',
    value: 'N|max',
    verbs: RUNS,
    help: 'workers, each with a socket of its own; max: one per CPU (default: $WEB_CONCURRENCY or 1; verify: 2)',
  },
  {
    name: 'name',
    value: 'NAME',
    verbs: ['start', 'reload', 'scale', 'status', 'stop'],
    help: 'names this launcher (default: name in package.json, else the directory)',
  },
  {
    name: 'runtime-dir',
    value: 'DIR',
    verbs: ['start', 'reload', 'scale', 'status', 'stop'],
    help: 'where the lock and the sockets lie (default: $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/reuseport-run, /run/reuseport-run, /tmp/reuseport-run-UID)',
  },
  {
    name: 'ports',
    value: 'PORT,…',
    verbs: RUNS,
    help: 'manage these TCP ports only; the program keeps all others to itself (default: every port but 0, and unix paths)',
  },
  {
    name: 'listen',
    value: '[NAME=]ADDRESS',
    multiple: true,
    verbs: RUNS,
    help: 'any program, in any language: it is given this socket when it is started (LISTEN_FDS). tcp:3000, tcp:127.0.0.1:3000, udp:5353, unix:/run/app.sock, or fd:NAME, one that systemd has given; may be given again (default: the program is a Node program, and listens by itself)',
  },
  {
    name: 'ready-timeout',
    value: 'TIME',
    verbs: RUNS,
    help: 'a worker must be ready, and have answered its health check, within this (default: 60s)',
  },
  {
    name: 'ready',
    value: 'listening|message|notify|alive:TIME',
    verbs: RUNS,
    help: "what a worker must say beside 'listening': message: process.send('ready'); notify: READY=1 on $NOTIFY_SOCKET; alive:TIME, with --listen: nothing, but it must run so long (default: listening; with --listen alive:1s)",
  },
  {
    name: 'health',
    value: 'PATH|tcp',
    verbs: RUNS,
    help: 'a new worker must answer GET PATH, over a connection of its own, before it gets any other; tcp: must accept one (default: not asked)',
  },
  {
    name: 'health-command',
    value: 'COMMAND',
    verbs: RUNS,
    help: 'in place of --health: a shell command that must exit with 0; $HEALTH_SOCKET is a unix socket that leads to that worker',
  },
  {
    name: 'health-port',
    value: 'PORT',
    verbs: RUNS,
    help: 'ask the server on this port (default: the first that the program opened)',
  },
  { name: 'health-host', value: 'NAME', verbs: RUNS, help: 'Host, and the name for TLS (default: localhost)' },
  {
    name: 'health-header',
    value: "'NAME: VALUE'",
    multiple: true,
    verbs: RUNS,
    help: 'a further header of that request; may be given again',
  },
  { name: 'health-status', value: 'CODE[-CODE],…', verbs: RUNS, help: 'good answers (default: 200-299)' },
  { name: 'health-timeout', value: 'TIME', verbs: RUNS, help: 'an answer must be complete within this (default: 1s)' },
  { name: 'health-interval', value: 'TIME', verbs: RUNS, help: 'between one try and the next (default: 250ms)' },
  { name: 'health-successes', value: 'N', verbs: RUNS, help: 'good answers in a row that are proof (default: 2)' },
  {
    name: 'health-failures',
    value: 'N',
    verbs: RUNS,
    help: 'bad answers in a row that are a failure of a worker that serves (default: 3)',
  },
  {
    name: 'liveness',
    value: 'TIME',
    verbs: RUNS,
    help: 'ask each worker this often for as long as it serves (default: until the bake has ended)',
  },
  {
    name: 'balance',
    value: 'hash|random|client|cpu',
    verbs: RUNS,
    help: "what chooses the worker of a new connection: the kernel's hash, chance, the client's address, or the CPU that its packets come to (default: hash)",
  },
  {
    name: 'standby',
    value: 'N',
    verbs: RUNS,
    help: 'so many workers more that have proven themselves and wait: one takes the place of a worker that dies, at once (default: 0)',
  },
  {
    name: 'park',
    value: 'TIME',
    verbs: RUNS,
    help: 'accept from the sockets of a worker that was scaled away for this long at least, before they are closed (default: 5s)',
  },
  {
    name: 'hang-timeout',
    value: 'TIME',
    verbs: RUNS,
    help: 'the siblings of a worker whose event loop stands still this long accept what waits for it, until it turns again; 0: off (default: 2s)',
  },
  {
    name: 'hang-kill',
    value: 'TIME',
    verbs: RUNS,
    help: 'it is killed after this, and started again, if another worker is well; 0: never (default: 30s)',
  },
  {
    name: 'env-file',
    value: 'FILE',
    multiple: true,
    verbs: RUNS,
    help: 'environment of the program, read again at each reload; may be given again, the last one wins',
  },
  {
    name: 'strategy',
    value: 'all|rolling',
    verbs: RUNS,
    help: 'all (default): every new worker proves itself, then all take over together; rolling: slot by slot, for memory',
  },
  {
    name: 'surge',
    value: 'N',
    verbs: RUNS,
    help: 'rolling: at most so many workers more than usual (default: 1); all: so many start at one time (default: all)',
  },
  {
    name: 'bake',
    value: 'TIME',
    verbs: RUNS,
    help: 'keep the old version this long after the handover, and go back to it if the new one fails (default: 5s; verify: 0)',
  },
  {
    name: 'bake-max-5xx',
    value: 'SHARE%',
    verbs: RUNS,
    help: 'in the bake more 5xx answers than this are a failure of the new version (default: not counted)',
  },
  {
    name: 'drain-timeout',
    value: 'TIME',
    verbs: RUNS,
    help: 'an old worker may finish what it has for this long (default: 30s)',
  },
  {
    name: 'bake-migrate',
    verbs: RUNS,
    help: 'idle HTTP/1.1 connections go to the new version at the handover already: what has moved dies with a version that crashes in the bake',
  },
  {
    name: 'no-migrate',
    verbs: RUNS,
    help: 'idle HTTP/1.1 connections of an old worker are told to close, instead of going on in the new one',
  },
  {
    name: 'websocket',
    value: 'close|keep',
    verbs: RUNS,
    help: 'WebSockets of an old worker: close them politely, with 1012; keep: at the end of --drain-timeout only (default: close)',
  },
  {
    name: 'drain-spread',
    value: 'TIME',
    verbs: RUNS,
    help: 'close them over this time, at most half of --drain-timeout, so that not all clients come back at once (default: 5s)',
  },
  {
    name: 'stop-signal',
    value: 'SIGNAL',
    verbs: RUNS,
    help: 'what ends a worker when its connections are gone: SIGTERM, SIGINT, SIGQUIT, SIGHUP or SIGUSR2 (default: SIGTERM)',
  },
  { name: 'kill-after', value: 'TIME', verbs: RUNS, help: 'SIGKILL this long after the stop signal (default: 5s)' },
  {
    name: 'compat',
    value: 'pm2',
    verbs: RUNS,
    help: "give the program what PM2 gives it: process.send, and the message 'shutdown' in place of the stop signal if it listens for messages (default: not)",
  },
  {
    name: 'log-format',
    value: 'text|json',
    verbs: ['start'],
    help: "the launcher's own lines on stderr (default: text)",
  },
  {
    name: 'wait',
    value: 'admitted|baked|retired',
    verbs: ['reload'],
    help: 'return when the new workers serve, when the bake has ended (default), or when the old ones have gone',
  },
  { name: 'no-wait', verbs: ['reload'], help: 'return when the reload is queued' },
  {
    name: 'canary',
    value: 'SHARE%',
    verbs: ['reload'],
    help: 'first one new worker gets this share of the new connections, and is watched; if it does well all others follow, else it is undone',
  },
  {
    name: 'for',
    value: 'TIME',
    verbs: ['reload'],
    help: 'watch the canary this long (default: 2m)',
  },
  {
    name: 'canary-by',
    value: 'random|client',
    verbs: ['reload'],
    help: "which connections are its: chance, or by the client's address the same clients always (default: random)",
  },
  {
    name: 'canary-max-5xx',
    value: 'SHARE%',
    verbs: ['reload'],
    help: 'more 5xx answers of it than this undo it (default: as --bake-max-5xx of the launcher)',
  },
  {
    name: 'canary-max-latency',
    value: 'TIMES',
    verbs: ['reload'],
    help: 'answers that take so many times as long as those of the others (95 % of each) undo it (default: not judged)',
  },
  { name: 'promote', verbs: ['reload'], help: 'the canary that is watched has done well: go on with all others now' },
  { name: 'abort', verbs: ['reload'], help: 'give the reload that runs up, or undo it, whatever step it is in' },
  {
    name: 'timeout',
    value: 'TIME',
    verbs: ['reload', 'scale', 'stop'],
    help: 'give up waiting after this; the launcher goes on (default: never)',
  },
  { name: 'json', verbs: ['reload', 'scale', 'status', 'verify'], help: 'print JSON' },
  { name: 'reloads', value: 'K', verbs: ['verify'], help: 'reloads under load (default: 20)' },
  {
    name: 'min-requests',
    value: 'N',
    verbs: ['verify'],
    help: 'go on until at least this many requests were made (default: 0)',
  },
  { name: 'connections', value: 'N', verbs: ['verify'], help: 'clients of each kind (default: 16)' },
  { name: 'path', value: 'PATH', verbs: ['verify'], help: 'what the clients ask for (default: /)' },
  {
    name: 'upload-path',
    value: 'PATH|none',
    verbs: ['verify'],
    help: 'where the clients that upload send their POST; none: no uploads (default: as --path)',
  },
  {
    name: 'listener',
    value: 'ADDRESS',
    verbs: ['verify'],
    help: 'which listener gets plain HTTP/1.1: a port, or an address as `status` prints it (default: the first over TCP that no other option names)',
  },
  { name: 'https', value: 'ADDRESS', verbs: ['verify'], help: 'a listener that gets HTTPS clients, too' },
  { name: 'http2', value: 'ADDRESS', verbs: ['verify'], help: 'a listener that gets HTTP/2 clients (TLS), too' },
  { name: 'h2c', value: 'ADDRESS', verbs: ['verify'], help: 'a listener that gets HTTP/2 clients without TLS, too' },
  {
    name: 'websocket-path',
    value: 'PATH',
    verbs: ['verify'],
    help: 'a path for clients that hold a WebSocket, and ping',
  },
  { name: 'echo', verbs: ['verify'], help: 'the program sends each WebSocket message back: send messages, not pings' },
  { name: 'sse-path', value: 'PATH', verbs: ['verify'], help: 'a path for clients that hold an event stream' },
  {
    name: 'clients',
    value: 'KIND[=N],…',
    verbs: ['verify'],
    help: 'only these kinds of clients, N of each (default: all that the other options make possible)',
  },
  {
    name: 'allow-closed',
    verbs: ['verify'],
    help: 'plain keep-alive connections may be closed: the program does so by itself',
  },
  {
    name: 'network',
    value: 'private|shared',
    verbs: ['verify'],
    help: "private (default): a network namespace of its own, if it may; shared: the program reaches this machine's other services",
  },
  {
    name: 'slow-path',
    value: 'PATH',
    verbs: ['verify'],
    help: 'a slow endpoint of the program, asked for by clients of its own',
  },
  { name: 'help', short: 'h', verbs: ALL, help: 'this text' },
  { name: 'version', short: 'v', verbs: ALL, help: 'the version' },
]

export function optionsOf(verb: Verb): OptionRow[] {
  return OPTIONS.filter(({ verbs }) => verbs.includes(verb))
}
