import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { ReuseportError } from './errors.js'
import { isTrusted, isWritableByOthers } from './file-rights.js'
import { lockFile } from './lock-file.js'
import { native } from './native.js'
import { COMPILE_CACHE } from './protocol.js'
import { asUser, type WorkerUser } from './worker-user.js'

/**
 * Where a launcher lives on this machine: `<runtime directory>/<name>/` with `lock`, `pid`, `notes`, `metrics`, `control.sock`, `channel.sock`,
 * and `notify.sock` if workers are to say that they are ready by it. Where workers run as another user, what is for them lies in a directory
 * of its own, `w/`: their group may search it, and write to the sockets in it; all that is above it can be passed through and no more.
 *
 * The runtime directory is the first that fits of: `--runtime-dir`, `$RUNTIME_DIRECTORY` (systemd; a colon list, the first counts),
 * `$XDG_RUNTIME_DIR/reuseport-run`, `/run/reuseport-run` (root only), `/tmp/reuseport-run-<uid>`. The launcher's own directory is 0700
 * and owned by us, both checked on the opened descriptor, never on a path that could be swapped meanwhile.
 */
export interface RuntimeDir {
  readonly directory: string
  readonly controlSocket: string
  readonly channelSocket: string
  readonly notifySocket: string
  /** Gives a socket that we have just made in there its owner and mode: nobody could connect before. */
  letWorkersIn(socket: string): void
  /** What its successor has to know, if it is killed. */
  readonly notes: string
  /** What it has counted (`--metrics`), for the same one. */
  readonly metrics: string
  /** A directory, made here, for what V8 makes of the program. */
  compileCache(): string
  /** Path of a socket on which a health command reaches this worker; its directory is there. */
  healthSocket(worker: number): string
  /** Descriptor of the lock. */
  readonly lock: number
  /**
   * Removes the launcher's files and its directory, and gives the lock up. Idempotent. `keeps`: workers of an earlier launcher are there, and
   * whoever comes next has to know of them.
   */
  release(keeps?: 'notes'): void
}

export interface FoundLauncher {
  readonly controlSocket: string
  /** Directory from which that launcher was started. */
  readonly startedFrom: string | undefined
  /** The error that says that nothing answers there. */
  notFound(cause?: unknown): ReuseportError
}

/** Longest path of a unix socket: sun_path holds 108 bytes, one is its end (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107
const NAME_PATTERN = /^[A-Za-z0-9._-]{1,64}$/

/** Throws ERR_USAGE unless `name` can name a launcher. */
export function checkName(name: string): string {
  if (NAME_PATTERN.test(name) && name !== '.' && name !== '..') return name
  throw new ReuseportError('ERR_USAGE', `${JSON.stringify(name)} cannot name a launcher`, {
    facts: { name },
    next: 'Use 1 to 64 of the characters A-Z a-z 0-9 . _ - with --name.',
  })
}

/** The package.json name in `directory` ("@a/b" becomes "a-b"), else the directory's own name; other characters become "-". */
export function defaultName(directory: string): string {
  const nameFrom = (text: string): string => {
    const name = text
      .replace(/^@/, '')
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .slice(0, 64)
    return NAME_PATTERN.test(name) && name !== '.' && name !== '..' ? name : 'app'
  }
  try {
    const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name?: unknown }
    if (typeof name === 'string' && name !== '') return nameFrom(name)
  } catch {
    // No package.json here, or not one that can be read: the directory names the launcher.
  }
  return nameFrom(basename(directory))
}

/** Makes the launcher's directory and takes its lock for life. Throws ERR_NAME_TAKEN when another launcher holds it, ERR_RUNTIME_DIR. */
export function takeRuntimeDir(
  name: string,
  options: { runtimeDir?: string | undefined; startedFrom: string; user?: WorkerUser | undefined; visits?: true },
): RuntimeDir {
  // Each mode below is meant, whatever the umask; nothing else runs before it is back.
  const mask = process.umask(0)
  try {
    return take(join(firstThatFits(options.runtimeDir, options.user), name), name, options)
  } finally {
    process.umask(mask)
  }
}

function take(
  directory: string,
  name: string,
  { startedFrom, user, visits }: { startedFrom: string; user?: WorkerUser | undefined; visits?: true },
): RuntimeDir {
  const at = (file: string): string => join(directory, file)
  checkLength(at('control.sock'))
  checkLength(workersPath(directory, user, 'channel.sock'))
  const lock = takeLock(directory, name, startedFrom)
  if (isServed(at('control.sock'))) {
    rmSync(at('lock'), { force: true })
    closeSync(lock)
    throw nameTaken(name, undefined, startedFrom)
  }
  const taken = heldRuntimeDir(directory, { lock, user })
  try {
    // The lock is ours: whatever a dead predecessor left here may go.
    for (const file of filesIn(directory)) rmSync(file, { force: true, recursive: true })
    makeWorkers(directory, 'keep', user)
    if (user !== undefined) makeWorkers(at('w'), 'make', user)
    writeFileSync(at('pid'), `${process.pid}\n`, { mode: 0o644 })
    ftruncateSync(lock)
    const record = { pid: process.pid, startedFrom, ...(visits && { visits }) }
    writeSync(lock, JSON.stringify(record satisfies LockRecord), 0)
    return taken
  } catch (cause) {
    taken.release('notes')
    throw notUsable(directory, cause)
  }
}

function filesIn(directory: string): string[] {
  return ['control.sock', 'channel.sock', 'notify.sock', 'pid', 'health', COMPILE_CACHE, 'w'].map((file) =>
    join(directory, file),
  )
}

/** What is for workers. */
function workersPath(directory: string, user: WorkerUser | undefined, file: string): string {
  return user === undefined ? join(directory, file) : join(directory, 'w', file)
}

/** The directory of a launcher that this process is already: it has its lock. */
export function heldRuntimeDir(
  directory: string,
  { lock, user }: { lock: number; user: WorkerUser | undefined },
): RuntimeDir {
  const at = (file: string): string => join(directory, file)
  const workers = (file: string): string => workersPath(directory, user, file)
  let released = false
  const release = (keeps?: 'notes'): void => {
    if (released) return
    released = true
    const notes = keeps === 'notes' ? [] : ['notes', 'notes~', 'metrics', 'metrics~'].map(at)
    for (const file of [...filesIn(directory), ...notes]) rmSync(file, { force: true, recursive: true })
    // The lock file goes while the lock is held: a newcomer that opened it before sees another inode at the path and tries again.
    rmSync(at('lock'), { force: true })
    closeSync(lock)
    removeEmpty(directory)
  }
  return {
    directory,
    lock,
    controlSocket: at('control.sock'),
    channelSocket: workers('channel.sock'),
    notifySocket: workers('notify.sock'),
    letWorkersIn: (socket) => {
      if (user !== undefined) chownSync(socket, -1, user.gid)
      chmodSync(socket, user === undefined ? 0o600 : 0o660)
    },
    notes: at('notes'),
    metrics: at('metrics'),
    compileCache: () => {
      const path = at(COMPILE_CACHE)
      if (!existsSync(path)) makeWorkers(path, 'make', undefined)
      return path
    },
    healthSocket: (worker) => {
      if (!existsSync(workers('health'))) makeWorkers(workers('health'), 'make', user)
      return join(workers('health'), String(worker))
    },
    release,
  }
}

/**
 * The directory that a launcher of this name would have, after a try whether it could: what that makes is removed again. Throws
 * ERR_RUNTIME_DIR.
 */
export function tryRuntimeDir(name: string, runtimeDir?: string): string {
  const mask = process.umask(0)
  const missing = placesFor(runtimeDir).flatMap(missingDirectories)
  try {
    const directory = join(firstThatFits(runtimeDir), name)
    checkLength(join(directory, 'control.sock'))
    if (existsSync(directory)) checkPrivate(directory)
    try {
      rmdirSync(mkdtempSync(join(dirname(directory), '.try-')))
    } catch (cause) {
      throw notUsable(directory, cause)
    }
    return directory
  } finally {
    process.umask(mask)
    for (const directory of missing) removeEmpty(directory)
  }
}

/** The directories of a path that are not there, the last one first. */
function missingDirectories(path: string): string[] {
  return existsSync(path) || dirname(path) === path ? [] : [path, ...missingDirectories(dirname(path))]
}

/** A directory of ours, through which the workers' group may pass, if they have one of their own. */
function makeWorkers(directory: string, what: 'make' | 'keep', user: WorkerUser | undefined): void {
  if (what === 'make') mkdirSync(directory, { mode: 0o700 })
  if (user !== undefined) chownSync(directory, -1, user.gid)
  chmodSync(directory, user === undefined ? 0o700 : 0o710)
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // Something of somebody else's is in it, a newcomer has just made its lock there, or it is not even a directory of ours.
  }
}

/** What the file system says of the launcher's directory (ENOSPC, EROFS, ELOOP), as an error of ours. */
export function notUsable(directory: string, cause: unknown): ReuseportError {
  return new ReuseportError('ERR_RUNTIME_DIR', `cannot use ${directory}: ${(cause as Error).message}`, {
    facts: { path: directory },
    next: 'Give a directory that this user may write to with --runtime-dir.',
    cause,
  })
}

function checkLength(socket: string): void {
  const bytes = Buffer.byteLength(socket)
  if (bytes <= MAX_SOCKET_PATH_BYTES) return
  throw new ReuseportError(
    'ERR_RUNTIME_DIR',
    `the path of the control socket is longer than ${MAX_SOCKET_PATH_BYTES} bytes`,
    {
      facts: { path: socket, bytes },
      next: 'Choose a shorter --runtime-dir or --name.',
    },
  )
}

/** Finds the directory of the launcher called `name`. Throws ERR_NO_LAUNCHER with every place that was searched. */
export function findLauncher(name: string, runtimeDir?: string): FoundLauncher {
  const places = placesFor(runtimeDir)
  const searched = places.map((place) => join(place, name))
  const notFound = (
    next = `${othersIn(places, name)}Give --name or --runtime-dir as at its start.`,
    cause?: unknown,
  ): ReuseportError =>
    new ReuseportError('ERR_NO_LAUNCHER', `no launcher called ${JSON.stringify(name)} runs here`, {
      facts: { name, searched },
      next: `Looked in ${searched.join(', ')}. ${next}`,
      cause,
    })
  for (const directory of searched) {
    const controlSocket = join(directory, 'control.sock')
    if (!existsSync(controlSocket) || !isOurs(directory)) continue
    const record = readLock(join(directory, 'lock'))
    const died = `The files in ${directory} are those of ${record === undefined ? 'one' : `pid ${record.pid}`} that was killed; its workers may serve on.`
    return {
      controlSocket,
      startedFrom: record?.startedFrom,
      notFound: (cause) => notFound(errnoOf(cause) === 'ECONNREFUSED' ? died : undefined, cause),
    }
  }
  throw notFound()
}

/** The others who are, or were, there: whoever is in the wrong directory has meant one of them. */
function othersIn(places: readonly string[], than: string): string {
  const others = places.flatMap(namesIn).filter((name) => name !== than)
  return others.length === 0 ? '' : `There ${others.length === 1 ? 'is' : 'are'}: ${others.sort().join(', ')}. `
}

function namesIn(place: string): string[] {
  try {
    return readdirSync(place).filter((name) => NAME_PATTERN.test(name) && existsSync(join(place, name, 'control.sock')))
  } catch {
    // It is not there, or somebody else's.
    return []
  }
}

/** Where a launcher of this name that was killed may have left word of itself. */
export function notesOf(name: string, runtimeDir?: string): string[] {
  return placesFor(runtimeDir).flatMap((place) => {
    const directory = join(place, name)
    const notes = join(directory, 'notes')
    return existsSync(notes) && isOurs(directory) ? notes : []
  })
}

/** What a socket's error says at the bottom: ECONNREFUSED where nobody listens on a path any more. */
function errnoOf(cause: unknown): string | undefined {
  const error = (cause instanceof ReuseportError ? cause.cause : cause) as NodeJS.ErrnoException | undefined
  return error?.code
}

/** Absolute: a worker looks for the channel from its own working directory, which need not be ours. */
function placesFor(given: string | undefined): string[] {
  return (given === undefined ? defaultPlaces() : [given]).map((place) => resolve(place))
}

function defaultPlaces(): string[] {
  const { RUNTIME_DIRECTORY: service, XDG_RUNTIME_DIR: session } = process.env
  const uid = process.getuid?.() ?? 0
  const places: string[] = []
  if (service !== undefined && service !== '') places.push(service.split(':')[0] as string)
  if (session !== undefined && isAbsolute(session)) places.push(join(session, 'reuseport-run'))
  if (uid === 0) places.push('/run/reuseport-run')
  places.push(`/tmp/reuseport-run-${uid}`)
  return places
}

function firstThatFits(given: string | undefined, user?: WorkerUser): string {
  const refusals: string[] = []
  for (const place of placesFor(given)) {
    try {
      makeParent(place, user)
      return place
    } catch (error) {
      refusals.push(`${place}: ${(error as Error).message}`)
    }
  }
  throw new ReuseportError('ERR_RUNTIME_DIR', `no runtime directory can be used (${refusals.join('; ')})`, {
    facts: { tried: refusals },
    next: 'Give a directory that this user owns with --runtime-dir.',
  })
}

/** A parent that we make is 0700; where workers have another user, who must be able to pass, 0711. One that exists must be ours or root's, and nobody else may put files into it. */
function makeParent(place: string, user: WorkerUser | undefined): void {
  makeDirectories(place, user === undefined ? 0o700 : 0o711)
  const fd = openSync(place, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const { uid, mode } = fstatSync(fd)
    if (uid !== process.geteuid?.() && uid !== 0) throw new Error(`is owned by uid ${uid}`)
    if ((mode & 0o022) !== 0) throw new Error(`may be written by others (mode ${(mode & 0o7777).toString(8)})`)
    checkAbove(realpathSync(place))
    if (user === undefined) return
    if (uid === process.geteuid?.()) fchmodSync(fd, (mode & 0o7777) | 0o011)
    letPass(place, user)
  } finally {
    closeSync(fd)
  }
}

/**
 * Whoever may rename a directory above it can put another one in its place, and we go by names. Others may make their files beside ours where
 * the sticky bit keeps ours from them (`/tmp`).
 */
function checkAbove(place: string): void {
  const above = dirname(place)
  if (above === place) return
  const stats = statSync(above)
  if (!isTrusted(stats.uid)) throw new Error(`${above} is owned by uid ${stats.uid}`)
  if (isWritableByOthers(stats) && (stats.mode & 0o1000) === 0)
    throw new Error(`${above} may be written by others (mode ${(stats.mode & 0o7777).toString(8)})`)
  checkAbove(above)
}

function letPass(place: string, user: WorkerUser): void {
  try {
    asUser(user, () => statSync(`${place}/.`))
  } catch (cause) {
    throw new Error(`${user.label} cannot pass through it: ${(cause as Error).message}`)
  }
}

/** As mkdirSync's `recursive`, which says ENOENT of a file system that is read-only. */
function makeDirectories(path: string, mode: number): void {
  const make = (): void => {
    try {
      mkdirSync(path, { mode })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
  try {
    make()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error
    makeDirectories(dirname(path), mode)
    make()
  }
}

/** Made by us with mode 0700, or found so. */
function makePrivate(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw notUsable(directory, cause)
  }
  checkPrivate(directory)
}

function checkPrivate(directory: string): void {
  const refuse = (reason: string): never => {
    throw new ReuseportError('ERR_RUNTIME_DIR', `${directory} ${reason}`, {
      facts: { path: directory },
      next: 'Remove it, or choose another --runtime-dir or --name.',
    })
  }
  if (!lstatSync(directory).isDirectory()) refuse('is not a directory')
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const { uid, mode } = fstatSync(fd)
    if (uid !== process.geteuid?.()) refuse(`is owned by uid ${uid}`)
    // A group may pass, and no more: workers with a user of their own had it, or will.
    if ((mode & 0o067) !== 0) refuse(`is open to others (mode ${(mode & 0o7777).toString(8)})`)
  } finally {
    closeSync(fd)
  }
}

function isOurs(directory: string): boolean {
  const uid = process.geteuid?.()
  return uid === 0 || lstatSync(directory).uid === uid
}

interface LockRecord {
  readonly pid: number
  readonly startedFrom: string
  /** It only looks at workers without a launcher, and goes. */
  readonly visits?: true
}

/** Longer than a look takes. */
const VISIT_MS = 5_000
const LOOK_AGAIN_MS = 20
/** Who has just taken the lock has not said yet what for. */
const MOST_LOOKS = 5
/** A second of them: a killed process has closed everything by then. */
const MOST_LOOKS_AT_SOCKET = 50

function takeLock(directory: string, name: string, startedFrom: string): number {
  const path = join(directory, 'lock')
  let deadline: number | undefined
  let looks = 0
  for (;;) {
    try {
      makePrivate(directory)
      const fd = lockFile(native(), path)
      if (fd !== undefined) return fd
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') continue // Its last holder has just removed the directory.
      if (cause instanceof ReuseportError) throw cause
      removeEmpty(directory)
      throw notUsable(path, cause)
    }
    // Not before there is something to wait for: the first look at this clock loads perf_hooks (0.3 MB).
    deadline ??= performance.now() + VISIT_MS
    const holder = readLock(path)
    looks = holder?.visits === true ? 0 : looks + 1
    if (looks >= MOST_LOOKS || performance.now() > deadline) throw nameTaken(name, holder, startedFrom)
    pauseForLook()
  }
}

/**
 * Somebody has taken its lock file away from a launcher that runs. One that was just killed may listen for a moment after its lock is free:
 * the kernel closes what a process has had one by one.
 */
function isServed(socket: string): boolean {
  for (let looks = 0; isListening(socket); looks++) {
    if (looks >= MOST_LOOKS_AT_SOCKET) return true
    pauseForLook()
  }
  return false
}

function isListening(socket: string): boolean {
  if (lstatSync(socket, { throwIfNoEntry: false })?.isSocket() !== true) return false
  const fd = native().socket('unix', 'stream')
  try {
    native().connectUnix(fd, socket)
    return true
  } catch (error) {
    // So many wait there that it does not read.
    return (error as NodeJS.ErrnoException).code === 'EAGAIN'
  } finally {
    native().close(fd)
  }
}

function pauseForLook(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_AGAIN_MS)
}

function readLock(path: string): LockRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LockRecord
  } catch {
    return undefined // Being written, or of a launcher that has just ended.
  }
}

function nameTaken(name: string, holder: LockRecord | undefined, startedFrom: string): ReuseportError {
  const elsewhere = holder !== undefined && holder.startedFrom !== startedFrom
  return new ReuseportError(
    'ERR_NAME_TAKEN',
    `a launcher called ${JSON.stringify(name)} runs already${holder === undefined ? '' : ` (pid ${holder.pid}, started from ${holder.startedFrom})`}`,
    {
      facts: { name, pid: holder?.pid ?? null, startedFrom: holder?.startedFrom ?? null, directory: startedFrom },
      next: elsewhere
        ? `This is ${startedFrom}: give this one another name, for example --name ${name}-2.`
        : 'To give it new code: `reuseport-run reload`. To run a second one: --name.',
    },
  )
}
