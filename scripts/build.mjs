// Builds the addon (node-gyp → build/Release/reuseport.node) and the TypeScript (tsc → dist/). Runs as npm `prepare`, needs no network,
// and is shipped: on a platform without a prebuilt addon, `node scripts/build.mjs` in the package's folder makes one.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, statSync, utimesSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const addon = join(root, 'build', 'Release', 'reuseport.node')

/** The folder above the headers of the running Node, or undefined when it came without (then node-gyp fetches them). */
export function nodeDirectory() {
  const directory = dirname(dirname(realpathSync(process.execPath)))
  return existsSync(join(directory, 'include', 'node', 'node_api.h')) ? directory : undefined
}

export function run(file, args, options = {}) {
  const { status, signal, error } = spawnSync(file, args, { cwd: root, stdio: 'inherit', ...options })
  if (error) throw error
  if (status !== 0) throw new Error(`${[file, ...args].join(' ')} ended with ${signal ?? status}`)
}

export function buildAddon() {
  if (process.platform !== 'linux' || isFresh()) return
  const folder = buildTools()
  const nodeGyp = createRequire(join(folder, 'resolve.js')).resolve('node-gyp/bin/node-gyp.js')

  // node-gyp takes npm_config_* over its own arguments, and npm exports a `nodedir` line of some npmrc that way: headers of another
  // Node than the one that runs this. Ours is set in the same place, so it wins.
  const env = {
    ...process.env,
    NODE_PATH: [join(folder, 'node_modules'), process.env.NODE_PATH].filter(Boolean).join(delimiter),
  }
  const nodedir = nodeDirectory()
  if (nodedir !== undefined) {
    for (const name of Object.keys(env)) if (/^npm_.*nodedir$/i.test(name)) delete env[name]
    env.npm_config_nodedir = nodedir
  }
  // Not `rebuild`, which begins by deleting the addon that others may be about to load; make knows what is out of date. Then the addon
  // gets the time at which this began: a change during the build, or in a file that make does not need, is not built again for ever.
  const begun = new Date()
  run(process.execPath, [nodeGyp, 'configure', 'build', '--loglevel=warn'], { env })
  utimesSync(addon, begun, begun)
}

/** Nothing that the addon is made of is younger than it. */
function isFresh() {
  if (!existsSync(addon)) return false
  const built = statSync(addon).mtimeMs
  const sources = readdirSync(join(root, 'native'), { recursive: true }).map((name) => join(root, 'native', name))
  return [join(root, 'binding.gyp'), ...sources].every((path) => statSync(path).mtimeMs <= built)
}

/**
 * A folder with node-gyp and node-addon-api in its node_modules: the checkout, or, in an installed package (which has no
 * dependencies at run time), one that npm fills on this explicit request to build.
 */
function buildTools() {
  const wanted = ['node-gyp/package.json', 'node-addon-api/package.json']
  const resolvable = (folder) => {
    const { resolve } = createRequire(join(folder, 'resolve.js'))
    return wanted.every((name) => {
      try {
        return resolve(name)
      } catch {
        return false
      }
    })
  }
  if (resolvable(root)) return root
  const folder = join(root, 'build-tools')
  if (!resolvable(folder)) {
    const { devDependencies } = createRequire(import.meta.url)('../package.json')
    const packages = ['node-gyp', 'node-addon-api'].map((name) => `${name}@${devDependencies[name]}`)
    mkdirSync(folder, { recursive: true })
    run('npm', ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', ...packages])
  }
  return folder
}

export function buildTypeScript() {
  if (!existsSync(join(root, 'tsconfig.json'))) return
  const require = createRequire(import.meta.url)
  const description = require.resolve('typescript/package.json')
  run(process.execPath, [join(dirname(description), require(description).bin.tsc), '-p', '.'])
  const program = join(root, 'dist', 'cli', 'main.js')
  if (existsSync(program)) chmodSync(program, 0o755)
}

/** npm runs `prepare` after `prepack`, over what is about to be packed. */
function isPacking() {
  const { npm_lifecycle_event: event, npm_command: command } = process.env
  return event === 'prepare' && (command === 'pack' || command === 'publish')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href && !isPacking()) {
  buildAddon()
  buildTypeScript()
}
