// What must hold before a commit: style and lint, types of the sources and of the tests.

import { root, run } from './build.mjs'

const bin = (name) => `${root}/node_modules/.bin/${name}`
run(bin('biome'), ['check', '--error-on-warnings', '.'])
run(bin('tsc'), ['--noEmit', '-p', '.'])
run(bin('tsc'), ['--noEmit', '-p', 'test'])
