import type { Verb } from './option-table.js'

/** What each verb is for: help, man page and completions are made of it. */
export interface VerbRow {
  /** What stands behind `reuseport-run`. */
  readonly form: string
  readonly summary: string
  /** Paragraphs. */
  readonly more: readonly string[]
}

export const VERB_TABLE: Readonly<Record<Verb, VerbRow>> = {
  start: {
    form: '[options] [--] command…',
    summary: 'run it; kill -HUP this process to give it new code',
    more: ['Runs a Node.js server so that nobody notices a deploy.'],
  },
  reload: {
    form: 'reload [options]',
    summary: 'new code takes over; no request fails',
    more: [
      'Starts the new version, waits until it listens, gives it the sockets, and drains the old one.',
      'Exit code: 0 done, 4 aborted (the old version serves on), 1 stopped, 3 no launcher, 5 timed out.',
    ],
  },
  scale: {
    form: 'scale [options] N|+N|-N',
    summary: 'another number of workers; no connection is lost',
    more: [
      'More workers: each proves itself before it serves. Fewer: the last ones drain, and their sockets are closed when nothing is left in them. During a reload it waits for its end.',
      'Exit code: 0 done, 4 a new worker failed (as many as before serve), 1 stopped, 2 no such number, 3 no launcher, 5 timed out.',
    ],
  },
  status: {
    form: 'status [options]',
    summary: 'what runs',
    more: [
      'Shows the launcher, its workers and its sockets.',
      '--watch: again and again, in place on a terminal (q ends it), with requests per second.',
    ],
  },
  events: {
    form: 'events [options]',
    summary: 'what happens, as it happens',
    more: ["Prints the launcher's log from now on, one event per line, as JSON, until it ends."],
  },
  stop: {
    form: 'stop [options]',
    summary: 'drain and end',
    more: ['Drains and ends the launcher and its workers; returns when they have gone.'],
  },
  upgrade: {
    form: 'upgrade [options]',
    summary: "a new launcher takes this one's place, in the same process",
    more: [
      'Puts the launcher and the Node that its command line leads to now in the place of the one that runs: same pid, same workers, same sockets. It is tried first; if it could not take over, nothing changes. Workers are not reloaded.',
      'Exit code: 0 done, 1 refused (the launcher goes on as it was) or stopped, 3 no launcher, 5 timed out.',
    ],
  },
  verify: {
    form: 'verify [options] [--] command…',
    summary: 'prove it: reloads under load, every lost request counted',
    more: [
      'Runs the program under a private launcher and load from clients that never retry, reloads it again and again, and counts what was lost.',
      'Exit code: 0 only if nothing was.',
    ],
  },
  doctor: {
    form: 'doctor [options] [--] [command…]',
    summary: 'would it run well here? nothing is started',
    more: [
      'Looks at Node, the kernel, limits, the runtime directory, the name, the ports and the program: what would a start with the same options meet here? Nothing is started.',
      '--unit: prints a systemd unit that starts it, instead.',
      'Exit code: 0, 1 if something would keep it from running.',
    ],
  },
  config: {
    form: 'config print|check [options] [--] [command…]',
    summary: 'what a start with the same words would be told, and by whom',
    more: [
      'print: each setting, its value, and where it comes from: command line, environment, config file, or its default. check: the config file has no fault.',
      'Exit code: 0, 2 if something cannot be meant; then all of it is said.',
    ],
  },
  'import-pm2': {
    form: 'import-pm2 [options] FILE',
    summary: 'what an ecosystem file of PM2 is here, and what becomes of each field',
    more: [
      'Reads ecosystem.config.js (or .cjs, .mjs, .json, .yml), and says for each program what stands in the config file that takes its place, and what became of every field: taken over, differently, not needed, or left out, and what to do instead. --out writes the files; the environment goes into a file of its own that nobody else can read, and none of its values is shown.',
      'Exit code: 0, 1 if something was left out, 2 if it cannot be read.',
    ],
  },
  completion: {
    form: 'completion bash|zsh|fish',
    summary: 'what a shell must know to complete these words',
    more: [
      'bash: eval "$(reuseport-run completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc, after compinit. fish: reuseport-run completion fish | source.',
    ],
  },
}
