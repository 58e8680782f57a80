import { closeSync, openSync, statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { asUser, refused, type WorkerUser } from '../worker-user.js'
import type { Spec } from './command.js'

/**
 * What a generation runs, as another user: with the environment of that user, and after a look whether he can reach what is run at all, for
 * what the program's own error says of that may mislead ("Cannot find module"). `agent`: our files that go into the program. Throws ERR_USER.
 */
export function runAs(user: WorkerUser, spec: Spec, agent: readonly string[]): Spec {
  const look = (path: string, what: string, at: () => void): void => {
    try {
      asUser(user, at)
    } catch (cause) {
      throw refused(
        `${user.label} may not ${what} ${path}: ${(cause as Error).message}`,
        'Workers run as --user says: that user needs to search (x) every directory on the way, and to read the files.',
        cause,
      )
    }
  }
  const read = (path: string): void => look(path, 'read', () => closeSync(openSync(path, 'r')))
  look(spec.cwd, 'enter the directory', () => statSync(`${spec.cwd}/.`))
  look(spec.file, 'reach', () => statSync(spec.file))
  for (const path of agent) read(path)
  const script = scriptOf(spec)
  if (script !== undefined) read(script)
  return { ...spec, env: withVariables(spec.env, user.variables) }
}

/** The file that `node app.js` names. */
function scriptOf({ argv, cwd }: Spec): string | undefined {
  const [command, ...words] = argv
  const word = words.find((one) => !one.startsWith('-'))
  if (command === undefined || basename(command) !== 'node' || word === undefined) return undefined
  const path = resolve(cwd, word)
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? path : undefined
}

function withVariables(
  env: Readonly<Record<string, string>>,
  variables: WorkerUser['variables'],
): Readonly<Record<string, string>> {
  const { HOME: _, USER: __, LOGNAME: ___, SHELL: ____, ...rest } = env
  const known = Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return { ...rest, ...Object.fromEntries(known) }
}
