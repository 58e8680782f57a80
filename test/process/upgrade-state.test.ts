import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { IMAGE_VERSION, type Image, parseImage } from '../../src/launcher/upgrade/image.js'
import { copyOfPackage } from '../support/copy'
import { startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

/*
 * What a launcher leaves to its successor, as it is now: of the shape that its version has in test/fixtures/upgrade-state. Who changes that of
 * a version that was released gives it a new number, keeps the old file, and lets parseImage() read it, or refuse it. To make the file of a
 * version that was not released anew: delete it, run this, format it (biome check --write), commit it.
 */

/** Without what is of this machine. */
function plain(image: Image, places: Readonly<Record<string, string>>): Image {
  let text = JSON.stringify({
    ...image,
    specs: {
      ...image.specs,
      byGeneration: image.specs.byGeneration.map(([generation, spec]) => [
        generation,
        { ...spec, file: '/usr/bin/node', env: { PATH: '/usr/bin' } },
      ]),
    },
    ldPreload: null,
  })
  for (const [place, name] of Object.entries(places)) text = text.replaceAll(place, name)
  return JSON.parse(text) as Image
}

/**
 * Objects whose fields are always there. Options that the older launcher did not know are those of the newer one, and settings are made of
 * them.
 */
const WHERE = [
  ...['', '.specs', '.verdicts', '.sockets', '.processes', '.processes.all.*', '.channels', '.channels.all.*'],
  ...['.channels.pending', '.hands', '.control', '.signals', '.state', '.state.workers.*', '.state.slots.*'],
  ...['.state.listeners.*', '.state.generations.*', '.state.standby', '.state.next'],
]

/** The names of the fields of every object, by where it is; of what goes by number or name, those of all together. */
function shapeOf(value: unknown, path = '', shapes = new Map<string, Set<string>>()): Map<string, Set<string>> {
  if (typeof value !== 'object' || value === null) return shapes
  const isList = Array.isArray(value)
  const isTable = Object.keys(value).some((key) => /^\d+(:\d+)?$|^(tcp|udp|unix) /.test(key)) || path.endsWith('.env')
  if (!isList && !isTable && Object.keys(value).length > 0)
    shapes.set(path, new Set([...(shapes.get(path) ?? []), ...Object.keys(value)]))
  for (const [key, one] of Object.entries(value)) shapeOf(one, `${path}.${isList || isTable ? '*' : key}`, shapes)
  return shapes
}

test('what is saved is what its version says (C-04)', async () => {
  const place = temporaryDirectory()
  const current = join(place, 'current')
  copyOfPackage(join(place, 'good'))
  symlinkSync('good', current)
  const [port, path] = [await freePort(), join(place, 'a.sock')]
  const versions = new Versions('one', join(place, 'app'))
  const launcher = await startLauncher({
    command: ['node', fixture('servers/many.cjs'), `a=${port}`, `b=${path}`],
    options: ['-n', '2', '--standby', '1', '--balance', 'random', '--health', '/', '--liveness', '1s', '--bake', '1s'],
    cwd: versions.directory,
    bake: null,
    main: join(current, 'dist', 'cli', 'main.js'),
    runtimeDir: join(place, 'run'),
  })
  await launcher.when('the spare is ready', ({ standby }) => standby[0]?.isReady === true)
  await launcher.reload('baked')
  const waiting = (await launcher.control()).scale({ to: 3 })

  // A successor that only looks.
  const [main, copy] = [join(place, 'looks', 'dist', 'cli', 'main.js'), join(place, 'image.json')]
  mkdirSync(dirname(main), { recursive: true })
  writeFileSync(main, `require('fs').writeFileSync(${JSON.stringify(copy)}, require('fs').readFileSync(3))`)
  symlinkSync('looks', join(place, 'next'))
  renameSync(join(place, 'next'), current)
  expect(await (await launcher.control()).upgrade()).toMatchObject({ result: 'refused' })
  await waiting
  const image = plain(parseImage(readFileSync(copy, 'utf8')), {
    [fixture('')]: '/app/',
    [place]: '/srv',
    [String(port)]: '3000',
  })
  await launcher.stop()

  const golden = fixture(`upgrade-state/v${IMAGE_VERSION}.json`)
  if (!existsSync(golden)) {
    mkdirSync(dirname(golden), { recursive: true })
    writeFileSync(golden, `${JSON.stringify(image, null, 2)}\n`)
    throw new Error(`${golden} was not there, and is now: look at it`)
  }
  const [then, now] = [shapeOf(JSON.parse(readFileSync(golden, 'utf8'))), shapeOf(image)]
  for (const where of WHERE) {
    expect([...then.keys()], where).toContain(where)
    expect([...(now.get(where) ?? [])].sort(), where).toEqual([...(then.get(where) ?? [])].sort())
  }
})
