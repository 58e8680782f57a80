import type { Change } from '../control-protocol.js'
import type { Log } from '../log.js'
import type { WorkerUser } from '../worker-user.js'
import { changesBetween, type Program, resolveCommand, type Spec } from './command.js'
import { type Check, fieldsOf, isText, isWhole, listOf, pairsOf, recordOf } from './shape.js'

export interface SavedSpecs {
  /** Where the launcher was started, as it was named. */
  readonly directory: string
  readonly byGeneration: readonly (readonly [number, Spec])[]
}
export const SAVED_SPECS: Check = fieldsOf({
  directory: isText,
  byGeneration: pairsOf(
    isWhole,
    fieldsOf({
      file: isText,
      stamp: isText,
      argv: listOf(isText),
      directory: isText,
      cwd: isText,
      env: recordOf(isText),
      shadowed: listOf(isText),
    }),
  ),
})

/** What each generation runs, from its beginning to its end. */
export class Specs {
  readonly #directory: string
  readonly #user: WorkerUser | undefined
  readonly #agent: readonly string[]
  readonly #log: Log
  readonly #byGeneration: Map<number, Spec>
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
    saved?: SavedSpecs | undefined
  }) {
    this.#next = () => options.program
    this.#directory = options.directory
    this.#user = options.user
    this.#agent = options.agent
    this.#log = options.log
    this.#byGeneration = new Map(options.saved?.byGeneration)
  }

  get directory(): string {
    return this.#directory
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

  save(): SavedSpecs {
    return { directory: this.#directory, byGeneration: [...this.#byGeneration] }
  }
}
