import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const root = join(__dirname, '..', '..')
const sourcesIn = (file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/native\/(?:core\/)?\w+\.cc/g)].map(([path]) => path).sort()
const onDisk = ['native', 'native/core'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.cc'))
    .map((name) => `${folder}/${name}`),
)

it.each(['binding.gyp', 'CMakeLists.txt'])('%s lists every native source once', (file) => {
  expect(sourcesIn(file)).toEqual(onDisk.sort())
})

it('node-gyp and CMake build with the same definitions', () => {
  for (const definition of ['NAPI_VERSION=8', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS']) {
    for (const file of ['binding.gyp', 'CMakeLists.txt'])
      expect(readFileSync(join(root, file), 'utf8')).toContain(definition)
  }
})

it('every test and fuzz target of the core is built', () => {
  const cmake = readFileSync(join(root, 'CMakeLists.txt'), 'utf8')
  const listed = [...cmake.matchAll(/foreach\(name ([\w ]+)\)/g)].map(([, names]) => names?.split(' '))
  const targets = ['native/fuzz', 'native/test'].map((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.cc'))
      .map((name) => name.slice(0, -3))
      .sort(),
  )
  expect(listed).toEqual(targets)
})
