import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { until } from './until'

type Controller = 'memory' | 'pids'

const ROOT = '/sys/fs/cgroup'
let count = 0

/** Where groups of a test may be made: v1 below our own, v2 below the root, which alone may have processes beside groups. undefined: nowhere. */
function parentOf(controller: Controller): string | undefined {
  const own = new RegExp(`^\\d+:${controller}:(.*)$`, 'm').exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
  if (own !== undefined) return join(ROOT, controller, own)
  const controls = join(ROOT, 'cgroup.subtree_control')
  return existsSync(controls) && readFileSync(controls, 'utf8').includes(controller) ? ROOT : undefined
}

/** Whether the kernel can be told so here: root, outside of most containers. */
export function canLimit(controller: Controller): boolean {
  if (process.getuid?.() !== 0) return false
  const parent = parentOf(controller)
  if (parent === undefined) return false
  const probe = join(parent, `rrt-probe-${process.pid}`)
  try {
    mkdirSync(probe)
    rmdirSync(probe)
    return true
  } catch {
    return false
  }
}

/** A control group of this test; what is started under `under`, and all that it starts, is in it. */
export class ControlGroup {
  readonly under: readonly string[]
  readonly #path: string
  readonly #controller: Controller

  constructor(controller: Controller) {
    this.#controller = controller
    this.#path = join(parentOf(controller) as string, `rrt-${process.pid}-${++count}`)
    mkdirSync(this.#path)
    onTestFinished(async () => {
      await until('the control group is empty', () => this.processes === 0)
      rmdirSync(this.#path)
    })
    this.under = ['sh', '-c', `echo $$ >${this.#path}/cgroup.procs; exec "$@"`, 'sh']
  }

  /** In bytes; or how many threads. */
  limit(to: number): void {
    const files = {
      memory: ['memory.max', 'memory.swap.max', 'memory.limit_in_bytes'],
      pids: ['pids.max'],
    }[this.#controller]
    for (const file of files) {
      const path = join(this.#path, file)
      if (existsSync(path)) writeFileSync(path, String(file === 'memory.swap.max' ? 0 : to))
    }
  }

  /** Bytes, with those of files; or threads. */
  get current(): number {
    const files = ['pids.current', 'memory.current', 'memory.usage_in_bytes'].map((name) => join(this.#path, name))
    return Number(readFileSync(files.find((file) => existsSync(file)) as string, 'utf8'))
  }

  get processes(): number {
    return readFileSync(join(this.#path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).length
  }
}
