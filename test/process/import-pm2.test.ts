import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Page } from '../docs/markdown'
import { Clients } from '../support/clients'
import { runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'

const golden = (name: string): string => join(ROOT, 'test', 'golden', name)

/** `import-pm2` with these words, in a directory with these files, which is called /srv/shop in what it says. */
async function importPm2(directory: string, ...words: string[]) {
  const run = await runCli(['import-pm2', ...words], { cwd: directory })
  const here = (text: string): string => text.replaceAll(directory, '/srv/shop')
  return { code: run.code, stdout: here(run.stdout), stderr: here(run.stderr) }
}

function withFixture(): string {
  const directory = temporaryDirectory()
  cpSync(fixture('ecosystem'), directory, { recursive: true })
  return directory
}

test('a full ecosystem file: every field is accounted for, and no value of the environment is shown', async () => {
  const directory = withFixture()
  const { code, stdout, stderr } = await importPm2(directory, '--env', 'production', 'ecosystem.config.cjs')
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  expect(stdout).not.toMatch(/sk-123456|a `secret`|hello world/)
  await expect(stdout).toMatchFileSnapshot(golden('import-pm2.txt'))
})

test('--out writes the files, the environment for nobody else to read; what is there is left alone', async () => {
  const directory = withFixture()
  const words = ['--env', 'production', '--app', 'shop-production', '--out', '.', 'ecosystem.config.cjs']
  const first = await importPm2(directory, ...words)
  expect(first.code).toBe(1)
  const [config, env] = ['reuseport-run.config.json', 'shop-production.env'].map((name) => join(directory, name)) as [
    string,
    string,
  ]
  const written = readFileSync(config, 'utf8').replaceAll(directory, '/srv/shop')
  await expect(written).toMatchFileSnapshot(golden('import-pm2-config.txt'))
  expect(statSync(env).mode & 0o777).toBe(0o600)
  expect(readFileSync(env, 'utf8')).toContain('API_KEY=sk-123456\n')

  writeFileSync(config, 'mine')
  const again = await importPm2(directory, ...words)
  expect(again).toMatchObject({ code: 2, stdout: '' })
  expect(again.stderr).toMatch(/reuseport-run\.config\.json and .*shop-production\.env are there already\n.*--force/)
  expect(readFileSync(config, 'utf8')).toBe('mine')
  expect((await importPm2(directory, '--force', ...words)).code).toBe(1)
  expect(readFileSync(config, 'utf8').replaceAll(directory, '/srv/shop')).toBe(written)
})

test.each([
  ['ecosystem.config.js', 'module.exports = { apps: [APP] }'],
  ['ecosystem.config.cjs', 'exports.apps = APP'],
  ['ecosystem.config.mjs', 'export default [APP]'],
])('%s: %s', async (name, text) => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, name), text.replace('APP', '{ name: "shop", script: "a.js", instances: "max" }'))
  const { code, stdout } = await importPm2(directory, '--json', name)
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    schema: 1,
    file: `/srv/shop/${name}`,
    complete: true,
    apps: [{ name: 'shop', config: { command: ['node', 'a.js'], workers: 'max', compat: 'pm2' } }],
  })
})

test('no file, no such program', async () => {
  const directory = withFixture()
  expect(await importPm2(directory)).toMatchObject({ code: 2, stderr: expect.stringContaining('needs a file') })
  const missing = await importPm2(directory, 'none.json')
  expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no such file') })
  const other = await importPm2(directory, '--app', 'blog', 'ecosystem.config.cjs')
  expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('It has shop, the-worker, npm, api.') })
})

test('a program that is imported runs, with its environment and its number, and reloads under load: nothing is lost', async () => {
  const port = await freePort()
  const directory = temporaryDirectory()
  const program = `const server = require('node:http').createServer((_request, response) =>
    response.end([process.pid, process.env.GREETING, process.env.INSTANCE_ID].join(' ')))
  server.listen(process.env.PORT, () => process.send('ready'))
  process.on('SIGINT', () => server.close(() => process.exit(0)))`
  writeFileSync(join(directory, 'app.js'), program)
  const app = {
    name: 'shop',
    script: './app.js',
    instances: 2,
    exec_mode: 'cluster',
    wait_ready: true,
    kill_timeout: 3000,
    instance_var: 'INSTANCE_ID',
    env: { PORT: port, GREETING: "it's me" },
  }
  writeFileSync(join(directory, 'ecosystem.json'), JSON.stringify({ apps: [app] }))
  expect(await importPm2(directory, '--out', '.', 'ecosystem.json')).toMatchObject({ code: 0 })
  const launcher = await startLauncher({ command: [], cwd: directory })
  const clients = new Clients(port)
  await clients.more(100)
  const before = new Set(clients.answers.keys())
  const verdict = await launcher.reload()
  expect(verdict.result).toBe('done')
  clients.answers.clear()
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  for (const answers of [before, new Set(clients.answers.keys())])
    expect([...answers].map((answer) => answer.replace(/^\d+ /, '')).sort()).toEqual(["it's me 0", "it's me 1"])
  await launcher.stop()
})

test('the commands of docs/migrating-from-pm2.md', async () => {
  const directory = temporaryDirectory()
  const env = 'env: { A: 1 }, env_production: { A: 2 }'
  writeFileSync(
    join(directory, 'ecosystem.config.js'),
    `module.exports = { apps: [{ name: 'shop', script: 'app.js', ${env} }] }`,
  )
  const lines = new Page('docs/migrating-from-pm2.md').code.filter((line) =>
    line.startsWith('reuseport-run import-pm2'),
  )
  expect(lines).toHaveLength(3)
  for (const line of lines) {
    const [, , ...words] = line
      .replace(/ +#.*$/, '')
      .replace('/etc/shop', join(directory, 'etc'))
      .split(' ')
    expect(await importPm2(directory, ...words)).toMatchObject({ code: 0, stderr: '' })
  }
  expect(readFileSync(join(directory, 'shop.env'), 'utf8')).toBe('A=1\n')
  expect(readFileSync(join(directory, 'etc', 'shop.env'), 'utf8')).toBe('A=2\n')
})
