import { expect, test } from 'vitest'
import { OneByOne } from '../../src/launcher/one-by-one.js'

const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

test('one thing per turn of the event loop, in order; what is dropped is not done', async () => {
  const done: string[] = []
  const queue = new OneByOne<string, string>((name) => done.push(name))
  for (const name of ['a', 'b', 'c', 'd']) queue.add(name, name)
  expect(done).toEqual([])
  expect(queue.drop('c')).toBe(true)
  for (const sofar of [['a'], ['a', 'b'], ['a', 'b', 'd']]) {
    await turn()
    expect(done).toEqual(sofar)
  }
  expect(queue.drop('a')).toBe(false)
  queue.add('e', 'e')
  expect(queue.waiting).toEqual(['e'])
  queue.clear()
  await turn()
  expect(done).toEqual(['a', 'b', 'd'])
})
