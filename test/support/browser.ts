import puppeteer, { type Page } from 'puppeteer-core'
import { onTestFinished } from 'vitest'

/** Debian's. */
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

export interface Opened {
  readonly page: Page
  /** What the page, its console or the network had to complain about. */
  readonly troubles: string[]
  /** Every address that was asked for. */
  readonly asked: Set<string>
}

/** A browser without a screen, of this test, with one page that is nowhere yet. */
export async function openBrowser(size: { width: number; height: number }): Promise<Opened> {
  // In a container there is no other user, and /dev/shm may be small.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--lang=en']
  const browser = await puppeteer.launch({ executablePath: CHROMIUM, args })
  onTestFinished(() => browser.close())
  const page = await browser.newPage()
  await page.setViewport(size)
  const troubles: string[] = []
  const asked = new Set<string>()
  page.on('console', (message) => troubles.push(`console: ${message.type()} ${message.text()}`))
  page.on('pageerror', (error) => troubles.push(`page: ${String(error)}`))
  page.on('request', (request) => asked.add(request.url()))
  page.on('requestfailed', (request) => troubles.push(`failed: ${request.url()} ${request.failure()?.errorText}`))
  page.on('response', (response) => {
    if (response.status() !== 200) troubles.push(`${response.status()}: ${response.url()}`)
  })
  return { page, troubles, asked }
}
