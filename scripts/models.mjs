/**
 * `node scripts/models.mjs [--large] [--out docs/models.md]`: what Spin finds in `models/`, for every order in which things may happen. Each run
 * must end without an error, each mutant with one. Without an argument only the runs that the tests make; `--large`: all, and docs/models.md is
 * written. Exits 1 if anything is not as it must be. Needs spin and gcc.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..')
const file = (model) => join(root, 'models', `${model}.pml`)

/** What a model is of, and how it is run: `small` by the tests, `large` by hand. A mutant that needs more than the defaults to be found says so. */
export const MODELS = {
  reload: {
    of: 'a reload with bad versions, bake and undo, a stop, and the death of the launcher with its adoption',
    small: ['', 'ROLLING', 'KILLS=1 KINDS=3', 'CRASHES=1 KINDS=2', 'LATES=1 KINDS=3', 'STOPS=1 KINDS=2'],
    large: [
      'KILLS=1',
      'KILLS=1 ROLLING',
      'CRASHES=1',
      'CRASHES=1 ROLLING',
      'LATES=1',
      'STOPS=1',
      'KILLS=1 CRASHES=1 DEATHS=0',
      'KILLS=1 CRASHES=1 KINDS=2 ROLLING',
      'KILLS=1 LATES=1',
      'KILLS=2 DEATHS=0',
      'GENS=3 KINDS=1',
      'GENS=3 KINDS=1 KILLS=1',
      'STOPS=1 CRASHES=1',
    ],
    mutants: {
      UNDO_IS_NOT_TOLD: '',
      ABORT_WITHOUT_RESUME: '',
      DROPS_THE_OLD: '',
      GIVES_UP_THE_LAST: 'CRASHES=1 ROLLING',
      DRAINS_BEFORE_ANOTHER_IS_TOLD: 'KILLS=1 LATES=1 ROLLING',
      RETIRES_BEFORE_THE_BAKE: '',
      BAKES_BEFORE_ALL_HAVE_PAUSED: 'KILLS=1',
      PAUSES_BEFORE_ALL_SERVE: '',
      STOP_LEAVES_THE_RELOAD: 'STOPS=1',
      STOP_DRAINS_AT_ONCE: 'STOPS=1',
      WORKERS_DIE_TOO: 'KILLS=1',
      ADOPTS_THE_HIGHEST_GENERATION: 'KILLS=1',
      ADMITS_ON_TIME_OUT: '',
      NO_SPARES: 'KILLS=1 CRASHES=1',
      CLOSES_WITH_THE_WORKER: 'KILLS=1 CRASHES=1 MUTANT_NO_SPARES',
    },
  },
  steering: {
    of: 'slots that come and go: which socket gets a connection, and how a socket leaves its group',
    small: ['CONNECTIONS=1 DEATHS=0', 'CONNECTIONS=1 SCALES=1'],
    large: ['CONNECTIONS=2 DEATHS=0 SCALES=1', 'CONNECTIONS=1', 'CONNECTIONS=2 SCALES=1'],
    mutants: {
      DOES_NOT_WAIT_FOR_HANDSHAKES: 'CONNECTIONS=1 SCALES=1',
      CLOSES_WITHOUT_ANSWERS: 'CONNECTIONS=1 SCALES=1',
      NO_SECOND_LOOK: 'CONNECTIONS=1 SCALES=1',
      DOES_NOT_NARROW: 'CONNECTIONS=1 SCALES=1',
      PARKS_NOBODY_AGAIN: 'CONNECTIONS=1 SCALES=1',
      SHIFTS: 'CONNECTIONS=1 SCALES=1',
      CLOSES_AT_ONCE: 'CONNECTIONS=1 SCALES=1',
    },
  },
  upgrade: {
    of: 'a new launcher in the place of the old one, by execve, while signals come',
    small: ['', 'FAILS=1'],
    large: ['SIGNALS=3 ORDERS=4 REPORTS=3 FAILS=1'],
    mutants: {
      IS_NOT_TRIED: '',
      SAVES_BEFORE_THE_TURNS: '',
      NO_SHIELD: '',
      NO_TURNS: '',
      DOES_NOT_ASK_AGAIN: '',
      CLOSES_ON_EXEC: '',
      LOWERS_BEFORE_ITS_HANDLERS: '',
      FORGETS_WHO_WAITS: '',
      THE_TRIED_ONE_ACTS: '',
    },
  },
  handover: {
    of: 'from process to process without a launcher',
    small: [''],
    large: ['KILLS=2 LATES=2 TRIES=2', 'KILLS=3 LATES=3 TRIES=3'],
    mutants: {
      NO_LOCK: '',
      ENDS_WITH_THE_OLD_ONE: '',
      SERVES_TWO: '',
      GIVES_UP_AT_THE_COMMIT: '',
      SENDS_AWAY_WITHOUT_A_WORD: '',
      NO_FENCE: '',
      IS_SUCCEEDED_AT_ONCE: '',
      GOES_WHEN_LATE: '',
    },
  },
}

/** Every mutant that a model has, whether it is run or not. */
export function mutantsIn(model) {
  return [...new Set(readFileSync(file(model), 'utf8').match(/(?<=\bMUTANT_)\w+/g))].sort()
}

/** Looks at every state that there is, up to the first error. `defines`: "KILLS=1 ROLLING". Throws what spin or gcc have to say. */
export function check(model, defines, isLarge = false) {
  const directory = mkdtempSync(join(tmpdir(), 'rrm-'))
  try {
    copyFileSync(file(model), join(directory, 'model.pml'))
    const options = defines === '' ? [] : defines.split(' ').map((word) => `-D${word}`)
    const here = { cwd: directory, encoding: 'utf8', timeout: 60_000 }
    const said = execFileSync('spin', ['-a', ...options, 'model.pml'], here)
    if (said.includes('Error')) throw new Error(said)
    // The small ones take less time than gcc would to make them faster.
    execFileSync('gcc', [isLarge ? '-O1' : '-O0', '-w', '-DSAFETY', '-DCOLLAPSE', '-o', 'pan', 'pan.c'], here)
    const began = performance.now()
    const { stdout } = spawnSync(join(directory, 'pan'), ['-E', '-m200000', '-w22'], {
      ...here,
      timeout: 3_600_000,
    })
    const count = (pattern) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN)
    return {
      states: count(/(\d\S*) states, stored/),
      depth: count(/depth reached (\d+)/),
      errors: count(/errors: (\d+)/),
      error: /^pan:1: (.*) \(at depth/m.exec(stdout)?.[1] ?? null,
      isWhole: !/max search depth too small|out of memory/.test(stdout),
      seconds: (performance.now() - began) / 1000,
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function main() {
  const { values } = parseArgs({
    options: {
      large: { type: 'boolean', default: false },
      out: { type: 'string', default: join(root, 'docs', 'models.md') },
    },
  })
  const runs = (size) =>
    Object.entries(MODELS).flatMap(([model, of]) => of[size].map((defines) => ({ model, defines })))
  const mutants = Object.entries(MODELS).flatMap(([model, of]) =>
    Object.entries(of.mutants).map(([mutant, defines]) => ({ model, mutant, defines })),
  )
  const rows = []
  for (const one of [...runs('small'), ...mutants, ...(values.large ? runs('large') : [])]) {
    const { model, mutant, defines } = one
    const result = check(
      model,
      `${mutant === undefined ? '' : `MUTANT_${mutant} `}${defines}`.trim(),
      MODELS[model].large.includes(defines),
    )
    const { states, depth, seconds, errors, isWhole } = result
    const isGood = isWhole && (errors === 0) === (mutant === undefined)
    if (!isGood) process.exitCode = 1
    const figures = `${states} states, depth ${depth}, ${seconds.toFixed(1)} s, ${errors} errors`
    console.log(`${isGood ? '' : 'NOT AS IT MUST BE: '}${model} ${mutant ?? ''} ${defines}: ${figures}`)
    rows.push({ ...one, ...result })
    // The largest come last: whoever does not wait for them has a page of all others.
    if (values.large) writeFileSync(values.out, page(rows))
  }
}

const number = (value) => value.toLocaleString('en-US')

/** The page, with the models' own words for what they promise. */
function page(rows) {
  const head = `# Models

Spin models of what must hold in every order of events, and how many states were looked at. Each is written for the code as it is: a transition
names the function whose rule it is, and what is left out is said at its head. They find what tests of processes meet once in a million runs, and
say nothing of what is not in them: the kernel, the event loop and the hands are as their documents say.

\`node scripts/models.mjs\` makes the small runs, as \`test/models\` does; \`--large\` all of them, and writes this page. A *mutant* is a model with one rule
broken (\`#ifdef MUTANT_…\`): it must be found, or the promise that it breaks is not looked at. Names of promises: I1 to I9, S1 to S4, U1 to U7, H1 to
H6. "nothing" in the first column: no deaths, nothing late.
`
  const parts = Object.entries(MODELS).map(([model, { of }]) => {
    const runs = rows.filter((row) => row.model === model && row.mutant === undefined)
    const mutants = rows.filter((row) => row.model === model && row.mutant !== undefined)
    const found = mutants.map(
      ({ mutant, states, error }) =>
        `| ${mutant.toLowerCase().replaceAll('_', ' ')} | ${error === null ? '**no**' : `after ${number(states)} states`} |`,
    )
    return `
## ${model}

\`models/${model}.pml\`: ${of}.

${promises(model)}

| with | states | depth | seconds | errors |
|---|---:|---:|---:|---:|
${runs.map(({ defines, states, depth, seconds, errors }) => `| ${defines === '' ? 'nothing' : `\`${defines}\``} | ${number(states)} | ${depth} | ${seconds.toFixed(1)} | ${errors} |`).join('\n')}

| mutant | found |
|---|---|
${found.join('\n')}
`
  })
  return head + parts.join('')
}

/** The list at the head of a model: " * I1  words". */
function promises(model) {
  const [comment] = readFileSync(file(model), 'utf8').split('*/')
  const lines = comment
    .replaceAll('\n *     ', ' ')
    .split('\n')
    .filter((line) => /^ \* [A-Z]\d {2}/.test(line))
  return lines.map((line) => `- **${line.slice(3, 5)}** ${line.slice(7)}`).join('\n')
}

if (import.meta.filename === process.argv[1]) main()
