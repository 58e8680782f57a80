import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'puppeteer-core'
import { expect, test } from 'vitest'
import { openBrowser } from '../support/browser'
import { ask, Clients } from '../support/clients'
import { runCli, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Started {
  readonly launcher: TestLauncher
  readonly port: number
  /** Of the page. */
  readonly own: number
  readonly versions: Versions
}

async function start(options: readonly string[] = ['-n', '2'], bake?: null): Promise<Started> {
  const [port, own] = [await freePort(), await freePort()]
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: [...options, '--status-page', String(own)],
    ...(bake === undefined ? {} : { bake }),
  })
  return { launcher, port, own, versions }
}

/** What the timeline has of a generation: the states of its workers that are drawn, as names. */
function drawn(page: Page): Promise<Record<string, string[]>> {
  return page.$$eval('#timeline [data-generation]', (groups) =>
    Object.fromEntries(
      groups.map((group) => [
        group.getAttribute('data-generation'),
        [...group.querySelectorAll('path')].map((path) => path.getAttribute('class') ?? ''),
      ]),
    ),
  )
}

const textOf = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, (element) => element.textContent ?? '')

test('in a browser, while a reload runs: both generations, no error, nothing from elsewhere', {
  timeout: 60_000,
}, async () => {
  const { launcher, port, own, versions } = await start(['-n', '4', '--bake', '3s'], null)
  const clients = new Clients(port)
  const { page, troubles, asked } = await openBrowser({ width: 1280, height: 1000 })
  await page.goto(`http://127.0.0.1:${own}/`)
  await until('the page says how it is', async () => (await textOf(page, '#state')) === 'serving')
  expect(await textOf(page, '#name')).toBe('test')
  await until(
    'answers are counted',
    async () => Number(await textOf(page, '#plot-requests strong').catch(() => '0')) > 0,
  )

  versions.deploy('two')
  const reloaded = launcher.reload('retired')
  const both = await until('both generations are drawn', async () => {
    const seen = await drawn(page)
    return seen['1']?.includes('paused') && seen['2']?.includes('serving') && seen
  })
  expect(both).toMatchObject({ 1: expect.arrayContaining(['serving', 'paused']) })
  await until('the reload', async () => /Generation 1 → 2.*4 baking/.test(await textOf(page, '#reload')))
  expect(await textOf(page, '#readout')).toBe('Now: gen 1: 4 paused · gen 2: 4 serving')
  // What the old ones still answer is theirs.
  const { beside } = await launcher.status()
  expect(beside.map(({ slot, generation, state }) => [slot, generation, state])).toEqual(
    [0, 1, 2, 3].map((slot) => [slot, 1, 'paused']),
  )
  expect(await page.$$eval('#workers tbody tr', (rows) => rows.length)).toBe(8)
  const place = process.env['SCREENSHOTS'] ?? temporaryDirectory()
  mkdirSync(place, { recursive: true })
  const shot = join(place, 'status-page.png')
  await page.screenshot({ path: shot, fullPage: true })
  expect(existsSync(shot)).toBe(true)

  expect((await reloaded).result).toBe('done')
  await until('the old one has gone', async () => (await textOf(page, '#readout')) === 'Now: gen 2: 4 serving')
  await until('the verdict', async () => /Verdictdone · generation 1 → 2/.test(await textOf(page, '#reload')))
  expect(await page.$$eval('#workers tbody tr', (rows) => rows.length)).toBe(4)
  expect(await textOf(page, '#events')).toMatch(/reload\.retired.*reload\.started.*launcher\.serving/s)

  // By keyboard: a look back.
  await page.evaluate("document.getElementById('timeline').focus()")
  for (let n = 0; n < 60; n++) await page.keyboard.press('ArrowLeft')
  await until('a look back', async () => /^\d\d:\d\d:\d\d: (not known|gen 1: .*)$/.test(await textOf(page, '#readout')))
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await until('it is sorted', async () => (await textOf(page, 'th[aria-sort=descending]').catch(() => '')) === 'Slot')

  // As wide as a phone, and in the dark.
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }])
  await page.setViewport({ width: 360, height: 740 })
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
  expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(18, 22, 26)')
  await page.screenshot({ path: join(place, 'status-page-phone.png'), fullPage: true })

  // Whoever looks sees the launcher that takes this one's place, and one that comes after its death.
  expect(await (await launcher.control()).upgrade()).toMatchObject({ result: 'done' })
  await until('it is the new one', async () => /upgraded/.test(await textOf(page, '#facts')))
  expect(await page.$eval('#lost', (element) => element.hasAttribute('hidden'))).toBe(true)
  expect(await drawn(page)).toMatchObject({
    1: expect.arrayContaining(['paused']),
    2: expect.arrayContaining(['serving']),
  })
  expect(troubles).toEqual([])
  expect([...asked].filter((url) => !url.startsWith('data:'))).toEqual([
    `http://127.0.0.1:${own}/`,
    `http://127.0.0.1:${own}/live`,
  ])
  expect((await clients.stop()).failures).toEqual([])
  await page.goto('about:blank')
  await launcher.stop()
})

test('whoever asks during upgrades is answered: nobody is refused', async () => {
  const { launcher, own } = await start()
  const clients = new Clients(own, 2, false)
  for (let n = 0; n < 3; n++) {
    const control = await launcher.control()
    expect(await control.upgrade()).toMatchObject({ result: 'done', reason: null })
    await clients.more(20)
  }
  const { failures, count } = await clients.stop()
  expect(failures).toEqual([])
  expect(count).toBeGreaterThan(60)
  await launcher.stop()
})

test('it comes back after the death of the launcher, and shows the workers that were taken over', async () => {
  const { launcher, own } = await start()
  const pids = await launcher.pids()
  await launcher.die()
  await expect(ask(own, '/')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  const next = await launcher.next()
  expect(await ask(own, '/')).toContain('<title>reuseport-run</title>')
  expect(await next.pids()).toEqual(pids)
  await next.stop()
})

test('a port that somebody has: nothing is started, and it is said what to do', async () => {
  const { launcher, own, versions } = await start()
  const there = join(temporaryDirectory(), 'there')
  const { code, stderr } = await runCli(
    ['--name', 'second', '--runtime-dir', temporaryDirectory(), '--status-page', `:${own}`, '--', 'touch', there],
    { cwd: versions.directory },
  )
  expect(stderr).toMatch(
    new RegExp(
      `ERR_ADDRESS_IN_USE: 127.0.0.1:${own} is in use: held by pid ${launcher.pid} .*\\n.*--status-page another port`,
    ),
  )
  expect([code, existsSync(there)]).toEqual([1, false])
  await launcher.stop()
})
