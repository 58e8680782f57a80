/** One thing that was looked at, and what to think of it. `fail`: a launcher, or its program, would not run; `warn`: it would, with less. */
export interface Finding {
  readonly check: string
  readonly level: 'ok' | 'warn' | 'fail'
  readonly text: string
  /** What to do about it; null: nothing needs to be done. */
  readonly next: string | null
}

export function ok(check: string, text: string): Finding {
  return { check, level: 'ok', text, next: null }
}

export function warn(check: string, text: string, next: string): Finding {
  return { check, level: 'warn', text, next }
}

export function fail(check: string, text: string, next: string): Finding {
  return { check, level: 'fail', text, next }
}
