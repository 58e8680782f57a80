import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ReuseportError } from './errors'

/**
 * The only file that loads the addon. Everything here is one system call wide and synchronous; a failed call throws an
 * `Error` with `code` ("EADDRINUSE"), `errno` (negative number, as libuv gives it) and `syscall` ("bind").
 * All descriptors are created close-on-exec. Nothing here decides anything: policy lives in `launcher/` and `worker/`.
 */
export interface Native {
  // --- descriptors -------------------------------------------------------------------------------------------------
  /** fcntl(F_DUPFD_CLOEXEC): a second descriptor of the same open file description, of at least `least`, and never 0, 1 or 2. */
  dup(fd: number, least?: number): number
  /** dup2(2): makes `target` refer to what `fd` refers to. The result is *not* close-on-exec, as a stdio descriptor must be. */
  dup2(fd: number, target: number): void
  /** close(2). EINTR counts as closed (Linux). */
  close(fd: number): void
  /** All of them, whatever becomes of one; throws the first error then. */
  closeAll(fds: Fds): void
  /** pipe2(O_CLOEXEC); `nonBlocking` sets O_NONBLOCK on the read end only. Gives [read, write]. */
  pipe(nonBlocking: boolean): [number, number]
  /** fcntl(F_SETFL, O_NONBLOCK), of the open file description: every copy of it changes. */
  setNonBlocking(fd: number, nonBlocking: boolean): void
  /**
   * write(2) of what can be written without waiting; gives how many bytes that was, 0 when none. The descriptor may be a socket, a pipe or a
   * terminal, without O_NONBLOCK, and others may have it, too. From a background job of a terminal, too (SIGTTOU is blocked meanwhile). On
   * a terminal, or a pipe before Linux 6.4, that others fill between our look and our write it may wait: give it a description of its own.
   */
  writeNow(fd: number, data: Uint8Array): number
  /** flock(LOCK_EX | LOCK_NB). False when another open file description holds it. */
  tryLock(fd: number): boolean

  // --- sockets -----------------------------------------------------------------------------------------------------
  /** socket(2) with SOCK_CLOEXEC | SOCK_NONBLOCK. */
  socket(family: SocketFamily, type: SocketType): number
  /** socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK). */
  socketPair(): [number, number]
  /** bind(2) to a numeric address. IPv6 addresses may carry a scope ("fe80::1%eth0"). */
  bindInet(fd: number, host: string, port: number): void
  /** bind(2) to a path (at most 107 bytes: ENAMETOOLONG above; unix(7)). */
  bindUnix(fd: number, path: string): void
  listen(fd: number, backlog: number): void
  /** accept4(SOCK_CLOEXEC | SOCK_NONBLOCK); null when nothing waits (EAGAIN). ECONNABORTED is skipped, EINTR retried. */
  accept(fd: number): number | null
  /** connect(2) to a numeric address. Under way on return (EINPROGRESS is no error): writable when it is connected, or has failed. */
  connectInet(fd: number, host: string, port: number): void
  /** connect(2) of a unix socket. EAGAIN (the peer's queue is full) is thrown like every other error. */
  connectUnix(fd: number, path: string): void
  setOption(fd: number, option: SocketOption, value: number): void
  getOption(fd: number, option: SocketOption): number
  localAddress(fd: number): InetAddress | UnixAddress
  /** getpeername(2): who is at the other end. Throws ENOTCONN when nobody is. */
  peerAddress(fd: number): InetAddress | UnixAddress
  /** Accept-queue length and limit of a listening TCP socket, from TCP_INFO (tcpi_unacked, tcpi_sacked; kernel.md §10). EINVAL if it does not listen. */
  acceptQueue(fd: number): { length: number; limit: number }
  /**
   * What waits in a socket's receive buffer, with what the kernel needs for it, and how many datagrams it has dropped for want of room (SO_MEMINFO,
   * Linux 4.12): the Recv-Q and the d of `ss -lum`.
   */
  receiveQueue(fd: number): { bytes: number; dropped: number }

  // --- the channel -------------------------------------------------------------------------------------------------
  /**
   * sendmsg(2) of one packet with at most 253 descriptors (SCM_MAX_FD); RangeError above. `data` must not be empty: a packet
   * without bytes looks like the end of the channel. Gives false when nothing was sent: try again
   * when writable (EAGAIN) or later (ETOOMANYREFS: descriptors in flight over RLIMIT_NOFILE, kernel.md §7; ENOBUFS, ENOMEM).
   * MSG_NOSIGNAL: a closed peer is EPIPE, or ECONNRESET when it had not read everything.
   */
  sendMessage(fd: number, data: Uint8Array, fds: Fds): boolean
  /**
   * recvmsg(2) with MSG_CMSG_CLOEXEC. null on EAGAIN; `data` of length 0 is the end of the channel. `truncated` is MSG_CTRUNC
   * or MSG_TRUNC: then every descriptor that did arrive was closed and `fds` is empty. A peer that closed without having read
   * everything (ECONNRESET, said once) is no error here: the packets it sent before come first, then the end. `sender`: only on a socket
   * with the option passCredentials.
   */
  receiveMessage(fd: number, maxBytes: number): ReceivedMessage | null
  /**
   * shutdown(2) with SHUT_RD: whatever the peer sends from now on is EPIPE to it; what it sent before can still be received. For a socket
   * pair of ours, never for a listening socket: it would hit every holder (kernel.md §3).
   */
  stopReceiving(fd: number): void
  /**
   * The same of one datagram to a unix path ('@' first = abstract namespace), sd_notify's shape; it may be empty. False on EAGAIN: the
   * receiver's queue is full (net.unix.max_dgram_qlen).
   */
  sendDatagram(fd: number, path: string, data: Uint8Array, fds: Fds): boolean
  /**
   * poll(2) on one descriptor, blocking this thread. Gives the ready subset, 0 on timeout; an error or hang-up makes all of `events`
   * ready. EINTR is retried within `timeoutMs`.
   */
  pollSync(fd: number, events: number, timeoutMs: number): number
  /** Peer of a connected unix socket, as of its connect (SO_PEERCRED). */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number }
  /** SO_PEERPIDFD (Linux 6.5): throws ENOPROTOOPT on older kernels. */
  peerPidfd(fd: number): number

  // --- steering ----------------------------------------------------------------------------------------------------
  /**
   * SO_ATTACH_REUSEPORT_CBPF on any member of a reuseport group. `weights[i]` is the share of the socket with group index i;
   * 0 = no new connection. `by`: what chooses. `canary`: one socket that gets its share of all before that; whom it gets does not depend on
   * the weights. Throws RangeError for an empty or all-zero table, more than 2,000 sockets, a weight or share that is not an integer from
   * 0 to 10,000, or a canary outside the table.
   */
  attachSteering(fd: number, weights: readonly number[], by: SteerBy, canary?: SteeredCanary | null): void
  /** SO_DETACH_REUSEPORT_BPF; no error when nothing was attached. */
  detachSteering(fd: number): void

  // --- processes ---------------------------------------------------------------------------------------------------
  /**
   * Starts the absolute `file` in a session (and process group) of its own, with default signal dispositions, an empty signal mask and exactly the
   * descriptors 0, 1, 2 and `fds` given. Gives pid and pidfd (close-on-exec). Throws ENOENT, EACCES, ENOEXEC, EAGAIN, ENOMEM ...; `syscall`
   * says what of: "chdir" (the directory), "execve" (the program), "setgroups", "setresgid" or "setresuid" (the identity).
   */
  spawn(options: SpawnOptions): { pid: number; pidfd: number }
  pidfdOpen(pid: number): number
  /** pidfd_send_signal(2). False when the process has ended already (ESRCH). */
  pidfdSignal(pidfd: number, signal: number): boolean
  /** waitid(P_PIDFD, WEXITED | WNOHANG). null while it runs; throws ECHILD when it is not our child. */
  pidfdWait(pidfd: number): { code: number | null; signal: string | null } | null
  /** kill(-pgid, signal) for a group whose leader we spawned. False on ESRCH. */
  signalGroup(pgid: number, signal: number): boolean
  /** prctl(PR_SET_CHILD_SUBREAPER): orphans of our workers become our children. */
  setChildSubreaper(): void
  /** Pid of one child that has ended and waits to be reaped, without reaping it (WNOWAIT); 0 when none shows (kernel.md §11). */
  peekExited(): number
  /** waitpid(pid, WNOHANG) of one child. False when there was nothing to reap. */
  reap(pid: number): boolean

  // --- users -------------------------------------------------------------------------------------------------------
  /** getpwnam_r(3) or getpwuid_r(3), and getgrouplist(3); null when there is no such user. */
  findUser(nameOrUid: string | number): NativeUser | null
  /** getgrnam_r(3); null when there is no such group. */
  findGroup(name: string): number | null
  /**
   * setgroups(2), setfsgid(2), setfsuid(2), of the calling thread alone: as whom it touches files from here on, until it is called again.
   * Throws EPERM; then something may have changed.
   */
  useFilesAs(identity: Identity): void

  // --- another image of this process ---------------------------------------------------------------------------------
  /** memfd_create(2): a file in memory, close-on-exec. */
  memoryFile(name: string): number
  /** fcntl(F_SETFD, FD_CLOEXEC). Throws EBADF when it is not open. */
  closeOnExec(fd: number): void
  /** Collects all garbage, and gives the memory back: some milliseconds. False: this V8 cannot be told so. */
  reclaim(): boolean
  /** Signals wait from now on. On the main thread only (native/core/shield.h). */
  raiseShield(): void
  /** They come again. Gives whether this image was started behind the preloaded object of `shieldFile()`. */
  lowerShield(): boolean
  /** execve(2), with exactly the descriptors 0, 1, 2 and `fds` left open. Returns never; throws what the kernel says, and all is as before. */
  replaceProcess(options: ReplaceOptions): never

  // --- a private network -------------------------------------------------------------------------------------------
  /** unshare(CLONE_NEWNET) of the calling thread and SIOCSIFFLAGS to bring its loopback up. Throws EPERM without CAP_SYS_ADMIN. */
  enterPrivateNetwork(): void
  /**
   * Receive packet steering of this network's loopback (rps_cpus; `processors` is its mask, "3" or "ff,ffffffff"), by a sysfs of its own
   * (fsopen(2), Linux 5.2). Throws EPERM without CAP_SYS_ADMIN, ENOENT in a kernel without CONFIG_RPS.
   */
  steerLoopback(processors: string): void

  /** Watches one descriptor on this environment's event loop (main thread or worker thread). */
  Poller: new (
    fd: number,
    onEvents: (events: number) => void,
  ) => Poller
  /**
   * Says that this environment's event loop turns: every `everyMs`, in a turn of it, the time of its monotonic clock (that of process.hrtime()) is
   * written into the first PULSE_BYTES of the file `fd`, as a BigUint64Array has it. Throws EINVAL for a file that is shorter.
   */
  Pulse: new (
    fd: number,
    everyMs: number,
  ) => Pulse
}

/** Descriptors of one message. The addon reads and writes an Int32Array at once, an array element by element. */
export type Fds = readonly number[] | Int32Array
export interface ReceivedMessage {
  data: Buffer
  fds: Int32Array
  truncated: boolean
  /** Who sent it, as the kernel vouches for it (SCM_CREDENTIALS). `pid` is 0 for a process of another pid namespace. */
  sender?: { pid: number; uid: number; gid: number }
}
export type SocketFamily = 'inet' | 'inet6' | 'unix'
export type SocketType = 'stream' | 'seqpacket' | 'datagram'
/** Read-only ones: acceptConnections (SO_ACCEPTCONN), type (SO_TYPE), domain (SO_DOMAIN). */
export type SocketOption =
  | 'reuseAddress'
  | 'reusePort'
  | 'ipv6Only'
  | 'passCredentials'
  | 'sendBuffer'
  | 'acceptConnections'
  | 'type'
  | 'domain'
export type SteerBy = 'random' | 'client' | 'cpu'
export interface SteeredCanary {
  readonly index: number
  /** In 1/10,000. */
  readonly share: number
  readonly by: 'random' | 'client'
}
export interface InetAddress {
  family: 4 | 6
  host: string
  port: number
}
export interface UnixAddress {
  path: string
}
/** As whom a process runs. */
export interface Identity {
  readonly uid: number
  readonly gid: number
  /** All of them: none is kept that is not named. */
  readonly groups: readonly number[]
}
export interface NativeUser extends Identity {
  readonly name: string
  readonly home: string
  readonly shell: string
}
export interface SpawnOptions {
  file: string
  argv: readonly string[]
  /** "NAME=value" strings: the whole environment. */
  env: readonly string[]
  cwd: string
  stdio: readonly [number, number, number]
  /** What the program gets as descriptors 3, 4 …; none if left out. */
  fds?: readonly number[]
  /** Name of a further variable, whose value is the new process's own pid. */
  pidVariable?: string
  /** As whom it runs, for good: set in this order groups, gid, uid; read back; no way back. Left out: as this process. */
  identity?: Identity
  /** It is killed when the calling thread ends (PR_SET_PDEATHSIG). */
  diesWithParent?: true
}
export interface ReplaceOptions {
  file: string
  argv: readonly string[]
  env: readonly string[]
  fds: readonly number[]
}
/**
 * Does not own its descriptor: `close()` ends the watching (idempotent), the caller closes the descriptor after it. Unreferenced
 * at first: a watched descriptor alone never keeps a process alive. At the end of its environment it closes itself.
 */
export interface Poller {
  /**
   * `events`: READABLE | WRITABLE; 0 pauses. An error or hang-up is reported as all of them: the next call on the descriptor says what
   * it is, and until something is done about it the report repeats. While it watches, a Poller is not garbage; paused, it may be.
   */
  start(events: number): void
  ref(): void
  unref(): void
  close(): void
}

/** Needs its descriptor no longer once it is made. Unreferenced: it never keeps a process alive. At the end of its environment it stops itself. */
export interface Pulse {
  /** Idempotent. */
  stop(): void
}
export const PULSE_BYTES = 8

/** Bits of `Poller.start`, its callback and `pollSync` (UV_READABLE, UV_WRITABLE). */
export const READABLE = 1
export const WRITABLE = 2
/** Most descriptors in one message: SCM_MAX_FD (kernel.md §7; 254 is EINVAL). */
export const MAX_FDS_PER_MESSAGE = 253

let binding: string | undefined
let loaded: Native | undefined
let loadedFrom: string | undefined

/** Makes this file the addon, in place of the package's own: what REUSEPORT_RUN_BINDING says, for who has taken it out of the environment. */
export function useBinding(path: string | undefined): void {
  binding = path
}

/** The addon, loaded at the first call. Throws `ERR_PLATFORM` off Linux, `ERR_ADDON_NOT_FOUND` with what was tried and what to do. */
export function native(): Native {
  loaded ??= load()
  return loaded
}

/** The object that keeps signals waiting while a new image starts (native/shield.c): it lies beside the addon. undefined: it does not. */
export function shieldFile(): string | undefined {
  native()
  const file = loadedFrom?.replace(/reuseport(?=[^/]*$)/, 'shield')
  return file !== undefined && file !== loadedFrom && existsSync(file) ? file : undefined
}

function load(): Native {
  if (process.platform !== 'linux') {
    throw new ReuseportError('ERR_PLATFORM', `reuseport-run needs Linux; this is ${process.platform}`, {
      facts: { platform: process.platform },
      next: 'The sockets, process and steering calls it makes exist on Linux only. In development, run the program without it.',
    })
  }

  // A file that somebody names is meant: when it is missing, no other one takes its place.
  const named = binding ?? process.env['REUSEPORT_RUN_BINDING']
  const candidates = named
    ? [resolve(named)]
    : ['build/Release/reuseport.node', `prebuilds/linux-${process.arch}/reuseport.${libc()}.node`]
  for (const [index, candidate] of candidates.entries()) {
    try {
      const addon = requireAddon(candidate)
      loadedFrom = resolve(__dirname, '..', candidate)
      return addon
    } catch (error) {
      // Only a file that is not there leads to the next one: an addon that cannot be loaded is a fact to be told, not to be hidden by
      // an older one that can.
      if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') continue
      const what = `The addon ${candidate} could not be loaded: ${(error as Error).message}`
      throw notLoaded(what, candidates.slice(0, index + 1), error)
    }
  }
  throw notLoaded('There is no addon for this platform', candidates)
}

/** Literal paths, inside a `try`: bundlers see which files to bring along, and do not mind those that this installation lacks. */
function requireAddon(candidate: string): Native {
  try {
    switch (candidate) {
      case 'build/Release/reuseport.node':
        return require('../build/Release/reuseport.node')
      case 'prebuilds/linux-x64/reuseport.glibc.node':
        return require('../prebuilds/linux-x64/reuseport.glibc.node')
      case 'prebuilds/linux-x64/reuseport.musl.node':
        return require('../prebuilds/linux-x64/reuseport.musl.node')
      case 'prebuilds/linux-arm64/reuseport.glibc.node':
        return require('../prebuilds/linux-arm64/reuseport.glibc.node')
      case 'prebuilds/linux-arm64/reuseport.musl.node':
        return require('../prebuilds/linux-arm64/reuseport.musl.node')
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
  }
  return require(resolve(__dirname, '..', candidate))
}

/**
 * The C library of the running Node, from the name of its dynamic loader, which an ELF file has near its beginning (60 µs). The
 * diagnostic report says it too, in 2-4 ms of every worker's start. A file in /etc or /lib would tell what is installed, not what runs.
 */
function libc(): 'glibc' | 'musl' {
  try {
    const file = openSync('/proc/self/exe', 'r')
    try {
      const start = Buffer.alloc(2048)
      const interpreter = start.toString('latin1', 0, readSync(file, start))
      if (interpreter.includes('/ld-musl-')) return 'musl'
      if (interpreter.includes('/ld-linux')) return 'glibc'
    } finally {
      closeSync(file)
    }
  } catch {
    // Not readable (Node's --permission): the report is left.
  }
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}

function notLoaded(what: string, tried: readonly string[], cause?: unknown): ReuseportError {
  const facts = {
    platform: process.platform,
    arch: process.arch,
    libc: libc(),
    nodeApi: process.versions['napi'] ?? 'unknown',
    tried,
  }
  const where = `${facts.platform}-${facts.arch}, ${facts.libc}, Node-API ${facts.nodeApi}`
  const next =
    (cause as NodeJS.ErrnoException | undefined)?.code === 'ERR_DLOPEN_DISABLED'
      ? 'Node runs with --permission: allow addons with --allow-addons.'
      : `Build it here: node ${join(__dirname, '..', 'scripts', 'build.mjs')}  (needs python3, make and a C++17 compiler)`
  return new ReuseportError('ERR_ADDON_NOT_FOUND', `${what} (${where}; tried ${tried.join(', ')})`, {
    facts,
    next,
    cause,
  })
}
