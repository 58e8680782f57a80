// Runs native/ under a sanitizer: node scripts/sanitize.mjs [asan [tests] | tsan | fuzz [seconds]]
//
//   asan   address + undefined behaviour: the units of the core (ctest), then the addon and the processes that use it (vitest);
//          with further arguments only these test files
//   tsan   the same units, and the addon in many worker threads
//   fuzz   libFuzzer on the core, `seconds` (30) for each target; needs clang-14
//
// Any report fails it, also one of a process whose stderr nobody sees: sanitizers write into a folder, and that must stay empty. So does
// a process that is left over.
//
// The runtime of a sanitizer must be in a process before an addon that needs it, hence LD_PRELOAD; what the tests start inherits it, also
// programs of the system. Those that link libgpg-error (ps, by libsystemd) hang with it for ever: that library's constructor calls
// bindtextdomain, whose malloc under glibc's lock is the first thing to reach libasan, whose initialisation calls dlerror, which takes
// the same lock. Tests read /proc instead.

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, run } from './build.mjs'
import { vitest } from './vitest.mjs'

const [mode = 'asan', ...rest] = process.argv.slice(2)
const modes = {
  asan: () => sanitize('asan', 'address,undefined', 'libasan.so', runTests),
  tsan: () => sanitize('tsan', 'thread', 'libtsan.so', runThreads),
  fuzz: () => fuzz(Number(rest[0] ?? 30)),
}

if (modes[mode] === undefined) {
  console.error(`${mode} is none of ${Object.keys(modes).join(', ')}`)
  process.exit(2)
}
modes[mode]()

function sanitize(preset, sanitizers, library, test) {
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
  const binding = join(out, 'reuseport.node')
  const { passed, text } = test({
    ...env,
    LD_PRELOAD: realpathSync(execFileSync('gcc', [`-print-file-name=${library}`], { encoding: 'utf8' }).trim()),
    REUSEPORT_RUN_BINDING: binding,
    // No leak check: Node's own modules and vitest's end without freeing everything. The default quarantine of 256 MB would look like a leak
    // to the tests that look for growth.
    ASAN_OPTIONS: `detect_leaks=0:quarantine_size_mb=16:handle_abort=2:${options}`,
    // gcc's libubsan tells libasan its own log_path, so they must be the same, and itself writes to stderr, which nobody may see:
    // it aborts after that, and libasan reports the abort (2: although Node takes all signal handlers away at its start).
    UBSAN_OPTIONS: `abort_on_error=1:${options}`,
    TSAN_OPTIONS: `log_path=${join(reports, 'report')}:exitcode=0`,
  })
  const left = endLeftOver(`REUSEPORT_RUN_BINDING=${binding}`)
  const found = readdirSync(reports)
    .flatMap((file) => readFileSync(join(reports, file), 'utf8').split(/^=+$/m))
    .filter((report) => report.trim() !== '')
    .filter((report) => preset !== 'tsan' || isInAddon(report))
  rmSync(reports, { recursive: true })

  for (const line of [...found, ...left.map((one) => `left over: ${one}`)]) console.log(line)
  console.log(`${text}; ${found.length} reports of ${sanitizers}; ${left.length} processes left over`)
  process.exitCode = passed && found.length === 0 && left.length === 0 ? 0 : 1
}

function runTests(env) {
  // Not the benchmark: its contenders are others' programs, of which some hang under LD_PRELOAD (above). Nor what makes V8 abort (A-12): every
  // abort is reported.
  const all = ['test/native', 'test/process', '--exclude', 'test/process/bench.test.ts', '-t', '^(?!.*A-12)']
  const tests = rest.length > 0 ? rest : all
  const { passed, end, counts } = vitest(['--testTimeout=120000', ...tests], { timeoutMs: 25 * 60_000, env })
  return { passed, text: counts ?? `vitest ended with ${end}` }
}

/** Without vitest, which counts descriptors: the false reports about its own Node are files that are open. */
function runThreads(env) {
  const programs = [
    { name: 'echo-in-threads.cjs', args: ['8'], code: 0 },
    ...['terminate', 'exit', 'throw', 'return'].map((how) => ({
      name: 'end-threads-under-flood.cjs',
      args: ['24', how],
      code: 7,
    })),
  ]
  const ended = programs.map(({ name, args, code }) => {
    const program = join(root, 'test', 'native', 'fixtures', name)
    const { status, signal } = spawnSync(process.execPath, [program, ...args], {
      env,
      stdio: 'inherit',
      timeout: 5 * 60_000,
    })
    console.log(`${[name, ...args].join(' ')}: ${signal ?? status}`)
    return status === code
  })
  const passed = ended.filter(Boolean).length
  return { passed: passed === ended.length, text: `${passed} of ${ended.length} programs ended as they should` }
}

/**
 * Whether the code that ran when the report was made is the addon's. Node is not instrumented: what it does with its own threads looks
 * like races, also below a call from the addon. Only what is nobody's, the C libraries, counts for its caller.
 */
function isInAddon(report) {
  return report.split(/\n\n/).some((part) => {
    const isAct = !/^\s*(Location|Mutex|Thread|As if|SUMMARY)/.test(part)
    const frames = part
      .split('\n')
      .filter((line) => /^\s+#\d/.test(line) && !/\((libtsan|libc|libstdc\+\+)\.so/.test(line))
    return isAct && /[/(]reuseport\.node|\/native\//.test(frames[0] ?? '')
  })
}

/** Ends the processes whose first environment has this line: after a timeout of the tests nobody else does. */
function endLeftOver(line) {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(line)) return []
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ')
      process.kill(Number(pid), 'SIGKILL')
      return [`${pid} ${command}`]
    } catch {
      // No process, not ours, or gone meanwhile.
      return []
    }
  })
}

function fuzz(seconds) {
  run('cmake', ['--preset', 'fuzz'])
  run('cmake', ['--build', '--preset', 'fuzz'])
  const out = join(root, 'build-cmake', 'fuzz')
  for (const target of readdirSync(out).filter((name) => name.startsWith('fuzz_'))) {
    const corpus = join(out, 'corpus', target)
    const crashes = join(out, 'crashes', target)
    for (const folder of [corpus, crashes]) mkdirSync(folder, { recursive: true })
    console.log(`\n=== ${target}, ${seconds} s`)
    // Throws at the first crash; the input is then in `crashes`.
    run(join(out, target), [
      `-max_total_time=${seconds}`,
      '-max_len=4096',
      `-artifact_prefix=${crashes}/`,
      '-verbosity=0',
      '-print_final_stats=1',
      corpus,
    ])
  }
  console.log('\n0 crashes')
}
