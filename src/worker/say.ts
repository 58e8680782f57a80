import { writeSync } from 'node:fs'

/** A line for a person. Not by process.stderr: creating it here would fix its kind (pipe, file, terminal) before the launcher changes fd 2. */
export function say(text: string): void {
  try {
    writeSync(2, `reuseport-run: ${text}\n`)
  } catch {
    // fd 2 is closed, or a full pipe that does not block: nobody reads it.
  }
}
