import type { Change } from '../control-protocol.js'
import type { Log } from '../log.js'
import type { WorkerUser } from '../worker-user.js'
import { changesBetween, type Program, resolveCommand, type Spec } from './command.js'
import { type Check, fieldsOf, isText, isWhole, listOf, orNull, pairsOf, recordOf } from './shape.js'

export interface SavedSpecs {
  /** Where the launcher was started, as it was named. */
  readonly directory: string
  readonly byGeneration: readonly (readonly [number, Spec])[]
  /** What the command line of this launcher means, where no generation runs it yet. */
  readonly fresh: Spec | null
}
const SPEC: Check = fieldsOf({
  file: isText,
  stamp: isText,
  argv: listOf(isText),
  directory: isText,
  cwd: isText,
  env: recordOf(isText),
  shadowed: listOf(isText),
})
export const SAVED_SPECS: Check = fieldsOf({
  directory: isText,
  byGeneration: pairsOf(isWhole, SPEC),
  fresh: orNull(SPEC),
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
  /** Of this launcher's own command line, until a generation runs it: only where it has adopted others. */
  #fresh: Spec | undefined

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
    this.#fresh = options.saved?.fresh ?? undefined
  }

  get directory(): string {
    return this.#directory
  }

  /** Of a generation whose launcher has left no word of it, and of one that a stranger has made up: as the command was found last. */
  get(generation: number): Spec {
    return this.#byGeneration.get(generation) ?? this.#fresh ?? ([...this.#byGeneration.values()].at(-1) as Spec)
  }

  /** By generation. */
  all(): Record<number, Spec> {
    return Object.fromEntries(this.#byGeneration)
  }

  /** What the generations of an earlier launcher run. What was resolved before is for those to come. */
  adopt(specs: Readonly<Record<number, Spec>>): void {
    this.#fresh = this.#byGeneration.get(1)
    this.#byGeneration.clear()
    for (const [generation, spec] of Object.entries(specs)) this.#byGeneration.set(Number(generation), spec)
  }

  /** This launcher was given another command than the one that this generation still runs: that one, in words; null: it was not. */
  unapplied(generation: number): string | null {
    const [spec, fresh] = [this.#byGeneration.get(generation), this.#fresh]
    if (spec === undefined || fresh === undefined) return null
    const words = ({ argv, directory }: Spec): string => `${argv.join(' ')} (in ${directory})`
    return words(spec) === words(fresh) ? null : words(spec)
  }

  /** Of generations that are yet to come. `next` throws if it cannot be known. */
  use(next: () => Program): void {
    this.#next = next
  }

  /** The command as it is found now is what this generation runs. Throws what `resolveCommand` and `runAs` do. */
  resolve(generation: number): void {
    this.#fresh = undefined
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
    return { directory: this.#directory, byGeneration: [...this.#byGeneration], fresh: this.#fresh ?? null }
  }
}
