import type { Change } from '../control-protocol.js'
import type { Log } from '../log.js'
import type { WorkerUser } from '../worker-user.js'
import { changesBetween, type Program, resolveCommand, type Spec } from './command.js'

/** What each generation runs, from its beginning to its end. */
export class Specs {
  readonly #directory: string
  readonly #user: WorkerUser | undefined
  readonly #agent: readonly string[]
  readonly #log: Log
  readonly #byGeneration = new Map<number, Spec>()
  /** What the next generation is to run; or why that is not known. */
  #next: () => Program

  constructor(options: {
    program: Program
    /** Where the launcher was started. */
    directory: string
    /** As whom it runs; undefined: as we do. */
    user: WorkerUser | undefined
    /** Files of ours that it loads. */
    agent: readonly string[]
    log: Log
  }) {
    this.#next = () => options.program
    this.#directory = options.directory
    this.#user = options.user
    this.#agent = options.agent
    this.#log = options.log
  }

  get(generation: number): Spec {
    return this.#byGeneration.get(generation) as Spec
  }

  /** Of generations that are yet to come. `next` throws if it cannot be known. */
  use(next: () => Program): void {
    this.#next = next
  }

  /** The command as it is found now is what this generation runs. Throws what `resolveCommand` and `runAs` do. */
  resolve(generation: number): void {
    const spec = resolveCommand(this.#next(), this.#directory)
    this.#byGeneration.set(generation, this.#user === undefined ? spec : this.#runAs(this.#user, spec))
  }

  #runAs(user: WorkerUser, spec: Spec): Spec {
    const { runAs } = require('./run-as.js') as typeof import('./run-as.js')
    return runAs(user, spec, this.#agent)
  }

  tellShadowed(generation: number): void {
    const { shadowed } = this.get(generation)
    if (shadowed.length > 0)
      this.#log('warn', 'env-file.shadowed', {
        variables: shadowed,
        text: "the launcher's own environment has them with other values, and those count",
      })
  }

  changes(from: number, to: number): Change[] {
    const [before, after] = [this.#byGeneration.get(from), this.#byGeneration.get(to)]
    return before === undefined || after === undefined ? [] : changesBetween(before, after)
  }

  forget(generation: number): void {
    this.#byGeneration.delete(generation)
  }
}
