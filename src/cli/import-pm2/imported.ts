/** What becomes of one field of an ecosystem file. */
export type Fate = 'taken' | 'differently' | 'needless' | 'left-out'

export interface Line {
  readonly field: string
  readonly fate: Fate
  /** As what, why, or what to do instead. Never a value of the environment. */
  readonly text: string
}

/** One program of an ecosystem file, as it is to be run here. */
export interface Imported {
  name: string
  /** In which it is started. */
  readonly directory: string
  /** What goes into reuseport-run.config.json. */
  readonly config: Record<string, unknown>
  /** What goes into its environment file. */
  readonly env: Record<string, string>
  readonly lines: Line[]
}

export function say(app: Imported, field: string, fate: Fate, text: string): void {
  app.lines.push({ field, fate, text })
}
