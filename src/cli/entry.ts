import {
  close,
  closeSync,
  constants,
  fstatSync,
  fsync,
  openSync,
  readFileSync,
  rename,
  type Stats,
  unlink,
  write,
} from 'node:fs'
import { join } from 'node:path'
import { Script, constants as vm } from 'node:vm'

/**
 * What the package has as dist/cli/main.js: runs the program, which lies in one file beside it, with what V8 has made of it at an earlier start:
 * to compile a start afresh takes 14 ms of processor time of 85 (Node 20). That is kept beside the program, by whoever owns that and could change
 * it as well, and is believed only if it is his. V8 looks at version, flags and length, and runs whatever else it finds: a file that has
 * not arrived whole on the disk would end every start with a signal. So there is a sum over every sector of it.
 */

/** Of the program's text; `scripts/bundle.mjs` says it. */
declare const STAMP: string

/** What the program may call when it has started: it has no such word when nothing is to be kept. */
type KeepCode = () => void

/** Bytes before V8's: length and sum. */
const HEAD = 8
/** Words of 4 bytes: one of each 64 bytes is in the sum, so 8 of each sector. */
const STEP = 16

const PROGRAM = join(__dirname, 'program.js')
const KEPT = join(__dirname, `program-${STAMP}-${process.version}-${process.arch}.v8`)
const BEFORE = '(function (exports, require, module, __filename, __dirname, keepCode) {'

run()

function run(): void {
  const { text, owner } = readProgram()
  const cachedData = process.env['NODE_DISABLE_COMPILE_CACHE'] === undefined ? readKept(owner) : undefined
  const script = new Script(`${BEFORE}${text}\n})`, {
    filename: PROGRAM,
    columnOffset: -BEFORE.length,
    importModuleDynamically: vm.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData === undefined ? {} : { cachedData }),
  })
  const isKept = cachedData !== undefined && script.cachedDataRejected !== true
  const mayKeep = !isKept && owner === process.geteuid?.() && process.env['NODE_DISABLE_COMPILE_CACHE'] === undefined
  script.runInThisContext()(exports, require, module, PROGRAM, __dirname, mayKeep ? keeper(script) : undefined)
}

function readProgram(): { text: string; owner: number } {
  const fd = openSync(PROGRAM, constants.O_RDONLY)
  try {
    // It has no character beyond ASCII.
    return { text: readFileSync(fd, 'latin1'), owner: fstatSync(fd).uid }
  } finally {
    closeSync(fd)
  }
}

/** undefined: there is none, or none that may be believed. */
function readKept(owner: number): Buffer | undefined {
  try {
    const fd = openSync(KEPT, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      if (!isHis(fstatSync(fd), owner)) return undefined
      const all = readFileSync(fd)
      const data = all.subarray(HEAD)
      return all.length > HEAD && all.readInt32LE(0) === data.length && all.readInt32LE(4) === sumOf(data)
        ? data
        : undefined
    } finally {
      closeSync(fd)
    }
  } catch {
    return undefined
  }
}

function isHis(stats: Stats, owner: number): boolean {
  return stats.isFile() && stats.uid === owner && (stats.mode & 0o022) === 0
}

function sumOf(data: Buffer): number {
  let sum = data.length
  for (let at = 0; at + 4 <= data.length; at += 4 * STEP) sum = (Math.imul(sum, 31) + data.readInt32LE(at)) | 0
  return sum
}

/** Once, when the program is ready for it: nobody waits for the disk. What cannot be kept is made anew at the next start. */
function keeper(script: Script): KeepCode {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    const data = script.createCachedData()
    const head = Buffer.alloc(HEAD)
    head.writeInt32LE(data.length, 0)
    head.writeInt32LE(sumOf(data), 4)
    keep(Buffer.concat([head, data]))
  }
}

function keep(bytes: Buffer): void {
  const part = `${KEPT}.${process.pid}~`
  let fd: number
  try {
    fd = openSync(part, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644)
  } catch {
    return // Read-only, or not ours.
  }
  const giveUp = (): void => unlink(part, () => {})
  write(fd, bytes, 0, bytes.length, 0, (error, written) => {
    const isWhole = error === null && written === bytes.length
    // On the disk before it has its name: whoever finds it finds all of it.
    fsync(fd, (failed) =>
      close(fd, () => (isWhole && failed === null ? rename(part, KEPT, (e) => e && giveUp()) : giveUp())),
    )
  })
}
