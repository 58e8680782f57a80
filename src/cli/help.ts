import { optionsOf, type Verb } from './option-table.js'

const HEADS: Readonly<Record<Verb, string>> = {
  start: `Runs a Node.js server so that nobody notices a deploy.

  reuseport-run [options] [--] command…     run it; kill -HUP this process to give it new code
  reuseport-run reload                      new code takes over; no request fails
  reuseport-run scale N|+N|-N               another number of workers; no connection is lost
  reuseport-run status                      what runs
  reuseport-run stop                        drain and end
  reuseport-run verify [options] command…   prove it: reloads under load, every lost request counted
  reuseport-run doctor [options] [command…] would it run well here? nothing is started
  reuseport-run VERB --help

  reuseport-run -n 4 -- node app.js`,
  reload:
    'reuseport-run reload [options]\n\nStarts the new version, waits until it listens, gives it the sockets, and drains the old one.\nExit code: 0 done, 4 aborted (the old version serves on), 1 stopped, 3 no launcher, 5 timed out.',
  scale:
    'reuseport-run scale [options] N|+N|-N\n\nMore workers: each proves itself before it serves. Fewer: the last ones drain, and their sockets are closed when nothing is left in them.\nDuring a reload it waits for its end. Exit code: 0 done, 4 a new worker failed (as many as before serve), 1 stopped, 2 no such number, 3 no launcher, 5 timed out.',
  status: 'reuseport-run status [options]\n\nShows the launcher, its workers and its sockets.',
  stop: 'reuseport-run stop [options]\n\nDrains and ends the launcher and its workers; returns when they have gone.',
  doctor:
    'reuseport-run doctor [options] [--] [command…]\n\nLooks at Node, the kernel, limits, the runtime directory, the name, the ports and the program: what would a start with the same options meet here?\nNothing is started. Exit code: 0, 1 if something would keep it from running.',
  verify:
    'reuseport-run verify [options] [--] command…\n\nRuns the program under a private launcher and load from clients that never retry, reloads it again and again, and counts what was lost.\nExit code: 0 only if nothing was.',
}

export function helpText(verb: Verb): string {
  const rows = optionsOf(verb).map(({ name, short, value, help, ...row }) => [
    `  ${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
    row.default === undefined ? help : `${help} (default: ${row.default})`,
  ])
  const width = Math.max(...rows.map(([left]) => (left as string).length)) + 2
  return `${HEADS[verb]}\n\nOptions:\n${rows.map(([left, help]) => `${(left as string).padEnd(width)}${help}`).join('\n')}\n`
}
