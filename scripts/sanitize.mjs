// Runs native/ under a sanitizer: node scripts/sanitize.mjs [asan [tests] | tsan | fuzz [seconds]]
//
//   asan   address + undefined behaviour: the units of the core (ctest), then the addon and the processes that use it (vitest);
//          with further arguments only these test files
//   tsan   the same units, and the addon in many worker threads
//   fuzz   libFuzzer on the core, `seconds` (30) for each target; needs clang-14
//
// Any report fails it, also one of a process whose stderr nobody sees: sanitizers write into a folder, and that must stay empty.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, run } from './build.mjs'

const [mode = 'asan', ...rest] = process.argv.slice(2)
const modes = {
  asan: () =>
    sanitize('asan', 'address,undefined', 'libasan.so', rest.length > 0 ? rest : ['test/native', 'test/process']),
  tsan: () => sanitize('tsan', 'thread', 'libtsan.so', ['test/native/poller.test.ts']),
  fuzz: () => fuzz(Number(rest[0] ?? 30)),
}

if (modes[mode] === undefined) {
  console.error(`${mode} is none of ${Object.keys(modes).join(', ')}`)
  process.exit(2)
}
modes[mode]()

function sanitize(preset, sanitizers, library, tests) {
  const out = join(root, 'build-cmake', preset)
  const cmakeJs = join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js')
  // With it, cmake-js would take that folder's headers and none of node-addon-api's.
  const { npm_config_nodedir: _, ...env } = process.env
  run(process.execPath, [cmakeJs, 'compile', '-O', out, `--CDSANITIZE=${sanitizers}`, '-B', 'Debug', '-l', 'warn'], {
    env,
  })
  run('ctest', ['--test-dir', out, '--output-on-failure'])

  const reports = mkdtempSync(join(tmpdir(), `${preset}-`))
  // Some tests run a process as another uid: its report must find a place too.
  chmodSync(reports, 0o1777)
  const options = `log_path=${join(reports, 'report')}:print_stacktrace=1:halt_on_error=1`
  const runtime = realpathSync(execFileSync('gcc', [`-print-file-name=${library}`], { encoding: 'utf8' }).trim())
  const existing = tests.filter((path) => existsSync(join(root, path)))
  let failure
  try {
    run(
      process.execPath,
      [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--testTimeout=120000', ...existing],
      {
        // A deadlock of a sanitizer in some process must not hold up a CI run for ever.
        timeout: 20 * 60_000,
        env: {
          ...env,
          LD_PRELOAD: runtime,
          REUSEPORT_RUN_BINDING: join(out, 'reuseport.node'),
          // No leak check: Node's own modules and vitest's end without freeing everything.
          ASAN_OPTIONS: `detect_leaks=0:${options}`,
          UBSAN_OPTIONS: options,
          TSAN_OPTIONS: `log_path=${join(reports, 'report')}:exitcode=0`,
        },
      },
    )
  } catch (error) {
    failure = error
  }
  const found = readdirSync(reports)
    .flatMap((file) => readFileSync(join(reports, file), 'utf8').split(/^=+$/m))
    .filter((report) => report.trim() !== '')
    // Node itself is not instrumented: what it does with its own threads looks like races.
    .filter((report) => preset !== 'tsan' || report.includes('reuseport.node'))
  rmSync(reports, { recursive: true })
  if (found.length > 0) throw new Error(`${found.length} reports of ${sanitizers}:\n${found.join('\n')}`)
  if (failure) throw failure
}

function fuzz(seconds) {
  run('cmake', ['--preset', 'fuzz'])
  run('cmake', ['--build', '--preset', 'fuzz'])
  const out = join(root, 'build-cmake', 'fuzz')
  for (const target of readdirSync(out).filter((name) => name.startsWith('fuzz_'))) {
    const corpus = join(out, 'corpus', target)
    mkdirSync(corpus, { recursive: true })
    const artifacts = join(out, `${target}-`)
    run(join(out, target), [
      `-max_total_time=${seconds}`,
      '-max_len=4096',
      `-artifact_prefix=${artifacts}`,
      '-verbosity=0',
      corpus,
    ])
  }
}
