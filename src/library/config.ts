// Made by scripts/generate.mjs from src/cli/option-table.ts.

/** What a config file may hold. */
export interface Config {
  /** The program and its arguments, if the command line names none. */
  readonly command?: readonly string[]
  /** Environment of the program, as far as neither an env file nor ours says otherwise. */
  readonly env?: Readonly<Record<string, string | number | boolean>>
  /** names this launcher. Default: name in package.json, else the directory */
  readonly name?: string
  /**
   * where the lock and the sockets lie. Default: $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/reuseport-run, /run/reuseport-run,
   * /tmp/reuseport-run-UID
   */
  readonly runtimeDir?: string
  /** a file that has the launcher's pid while it runs */
  readonly pidFile?: string
  /** where the launcher's own lines go; SIGUSR1 opens it again by its name, after it was moved away. Default: they go to stderr */
  readonly logFile?: string
  /** the launcher's own lines on stderr. Default: text */
  readonly logFormat?: 'text' | 'json'
  /**
   * a page for the browser that shows what happens, live; a port alone is for this machine only; 0.0.0.0:9090, unix:/run/status.sock.
   * Default: there is none
   */
  readonly statusPage?: number | string
  /**
   * metrics for Prometheus at /metrics, of the launcher, its workers and their prom-client; /livez and /readyz; a port alone is for
   * this machine only; 0.0.0.0:9400, unix:/run/metrics.sock. Default: nothing is counted
   */
  readonly metrics?: number | string
  /** what workers print gets their slot and generation in front of each line; with --log-file it goes there, too */
  readonly logPrefix?: boolean
  /** a worker whose launcher is gone, and that no other one has taken over by then, drains and ends. Default: never */
  readonly orphanTimeout?: string | 0
  /** workers are killed when their launcher dies, instead of serving on until the next one takes them over */
  readonly dieWithLauncher?: boolean
  /** workers, each with a socket of its own; max: one per CPU. Default: 1; $WEB_CONCURRENCY if it is set; verify: 2 */
  readonly workers?: number | 'max'
  /**
   * what chooses the worker of a new connection: the kernel's hash, chance, the client's address, or the CPU that its packets come to.
   * Default: hash
   */
  readonly balance?: 'hash' | 'random' | 'client' | 'cpu'
  /** so many workers more that have proven themselves and wait: one takes the place of a worker that dies, at once. Default: 0 */
  readonly standby?: number
  /** accept from the sockets of a worker that was scaled away for this long at least, before they are closed. Default: 5s */
  readonly park?: string | 0
  /**
   * UDP: clients that an old worker has heard from within this time stay with it for as long after the handover (docs/library.md).
   * Default: 0
   */
  readonly udpLinger?: string | 0
  /**
   * the siblings of a worker whose event loop stands still this long accept what waits for it, until it turns again; 0: off. Default:
   * 2s
   */
  readonly hangTimeout?: string | 0
  /** it is killed after this, and started again, if another worker is well; 0: never. Default: 30s */
  readonly hangKill?: string | 0
  /**
   * a worker with more resident memory than this, 512M or 1.5G, is relieved: another one of its version takes its place, and nothing
   * is lost. Default: no limit
   */
  readonly maxMemory?: string
  /** a worker that is as old is relieved in the same way, one after the other over the last fifth of this time. Default: no limit */
  readonly maxAge?: string | 0
  /** look at memory and age of the workers this often, if there is a limit. Default: 10s */
  readonly limitInterval?: string | 0
  /** workers run as this user, without a way back; the launcher, which must be root, opens the sockets first. Default: as the launcher */
  readonly user?: string | number
  /** their group. Default: that of --user in the user database */
  readonly group?: string | number
  /** manage these ports only, TCP and UDP; the program keeps all others to itself. Default: every port but 0, and unix paths */
  readonly ports?: number | readonly number[]
  /**
   * any program, in any language: it is given this socket when it is started (LISTEN_FDS). tcp:3000, tcp:127.0.0.1:3000, udp:5353,
   * unix:/run/app.sock, or fd:NAME, one that systemd has given; may be given again. Default: the program is a Node program, and
   * listens by itself
   */
  readonly listen?: string | readonly string[]
  /** environment of the program, read again at each reload; may be given again, the last one wins */
  readonly envFile?: string | readonly string[]
  /**
   * give the program what PM2 gives it: process.send, SIGINT as stop signal, or the message 'shutdown' in its place if it listens for
   * messages, and NODE_APP_INSTANCE, pm_id and name. Default: not
   */
  readonly compat?: 'pm2'
  /**
   * the variable in which the program finds its worker's number, from 0 on. Default: it is not told; with --compat pm2
   * NODE_APP_INSTANCE
   */
  readonly instanceVar?: string
  /** workers keep what V8 makes of the program for those that come after, which start faster (Node 22.10) */
  readonly compileCache?: boolean
  /** a worker must be ready, and have answered its health check, within this. Default: 60s */
  readonly readyTimeout?: string | 0
  /**
   * what a worker must say beside 'listening': message: process.send('ready'); notify: READY=1 on $NOTIFY_SOCKET; alive:TIME, with
   * --listen: nothing, but it must run so long. Default: listening; with --listen alive:1s
   */
  readonly ready?: string | 'listening' | 'message' | 'notify'
  /**
   * a new worker must answer GET PATH, over a connection of its own, before it gets any other; tcp: must accept one. Default: not
   * asked
   */
  readonly health?: string | 'tcp'
  /** in place of --health: a shell command that must exit with 0; $HEALTH_SOCKET is a unix socket that leads to that worker */
  readonly healthCommand?: string
  /** ask the server on this port. Default: the first that the program opened */
  readonly healthPort?: number
  /** Host, and the name for TLS. Default: localhost */
  readonly healthHost?: string
  /** a further header of that request; may be given again */
  readonly healthHeader?: string | readonly string[]
  /** good answers. Default: 200-299 */
  readonly healthStatus?: number | string | readonly (number | string)[]
  /** an answer must be complete within this. Default: 1s */
  readonly healthTimeout?: string | 0
  /** between one try and the next. Default: 250ms */
  readonly healthInterval?: string | 0
  /** good answers in a row that are proof. Default: 2 */
  readonly healthSuccesses?: number
  /** bad answers in a row that are a failure of a worker that serves. Default: 3 */
  readonly healthFailures?: number
  /** ask each worker this often for as long as it serves. Default: until the bake has ended */
  readonly liveness?: string | 0
  /**
   * ask a new worker N times for these paths in turns, over connections of its own, before it is admitted: no client waits for its
   * compilers and caches. Default: not
   */
  readonly warmup?: string
  /** over so many connections at a time. Default: 4 */
  readonly warmupConcurrency?: number
  /** it is admitted after this, however warm. Default: 10s */
  readonly warmupTimeout?: string | 0
  /** all: every new worker proves itself, then all take over together; rolling: slot by slot, for memory. Default: all */
  readonly strategy?: 'all' | 'rolling'
  /** rolling: at most so many workers more than usual; all: so many start at one time. Default: rolling: 1; all: all */
  readonly surge?: number
  /**
   * refuse a reload whose new workers would not fit into the memory that is left beside the old ones, or while processes wait for
   * memory
   */
  readonly memoryCheck?: boolean
  /**
   * keep the old version this long after the handover, and go back to it if the new one fails. Default: 5s; verify, and with --watch:
   * 0
   */
  readonly bake?: string | 0
  /** in the bake more 5xx answers than this are a failure of the new version. Default: not counted */
  readonly bakeMax5xx?: string
  /**
   * idle HTTP/1.1 connections go to the new version at the handover already: what has moved dies with a version that crashes in the
   * bake
   */
  readonly bakeMigrate?: boolean
  /** an old worker may finish what it has for this long. Default: 30s */
  readonly drainTimeout?: string | 0
  /** false: idle HTTP/1.1 connections of an old worker are told to close, instead of going on in the new one */
  readonly migrate?: boolean
  /** WebSockets of an old worker: close them politely, with 1012; keep: at the end of --drain-timeout only. Default: close */
  readonly websocket?: 'close' | 'keep'
  /** close them over this time, at most half of --drain-timeout, so that not all clients come back at once. Default: 5s */
  readonly drainSpread?: string | 0
  /**
   * what ends a worker when its connections are gone: SIGTERM, SIGINT, SIGQUIT, SIGHUP or SIGUSR2. Default: SIGTERM; with --compat pm2
   * SIGINT
   */
  readonly stopSignal?:
    | 'SIGTERM'
    | 'TERM'
    | 'SIGINT'
    | 'INT'
    | 'SIGQUIT'
    | 'QUIT'
    | 'SIGHUP'
    | 'HUP'
    | 'SIGUSR2'
    | 'USR2'
  /** SIGKILL this long after the stop signal. Default: 5s */
  readonly killAfter?: string | 0
  /** reload when a file of the program changes; node_modules, and names that begin with a dot, do not count */
  readonly watch?: boolean
  /** what is watched; may be given again. Default: the directory in which it is started */
  readonly watchPath?: string | readonly string[]
  /** a name (coverage), wherever it is, or a path (public/uploads), that does not count; may be given again */
  readonly watchIgnore?: string | readonly string[]
  /** reload when nothing has changed for this long. Default: 100ms */
  readonly watchDelay?: string | 0
}

/** Says nothing but what type a config is of: `export default defineConfig({ … })`. */
export function defineConfig(config: Config): Config {
  return config
}
