import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../support/paths'

/** What is made, fetched or hidden, and no page of ours. */
const ELSEWHERE = ['node_modules', 'build', 'build-cmake', 'build-tools', 'dist', 'prebuilds']

/** Every file below a folder of this checkout, as paths from its root. */
export function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) return [path]
    return entry.name.startsWith('.') || ELSEWHERE.includes(entry.name) ? [] : filesBelow(path)
  })
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** A fenced block of code. */
export interface Fence {
  /** What stands behind the fence: "sh", or "js app.js" of what is a file. */
  readonly kind: string
  readonly file: string | undefined
  readonly text: string
  /** The heading that it is under. */
  readonly heading: string
}

/** One Markdown file, taken apart as far as the tests ask for it. */
export class Page {
  readonly path: string
  /** Lines of code blocks, fenced or indented. */
  readonly code: readonly string[]
  /** Everything else. */
  readonly prose: string

  constructor(path: string) {
    this.path = path
    const code: string[] = []
    const prose: string[] = []
    let isFenced = false
    let previous = ''
    for (const line of read(path).split('\n')) {
      const isFence = line.startsWith('```')
      if (isFence) isFenced = !isFenced
      // Four spaces begin a block after an empty line only: else they continue a list or a paragraph.
      const isIndented = /^ {4}/.test(line) && (previous === '' || code.at(-1) === previous.slice(4))
      if (isFenced && !isFence) code.push(line)
      else if (!isFence && isIndented) code.push(line.slice(4))
      else if (!isFence) prose.push(line)
      previous = line
    }
    this.code = code
    this.prose = prose.join('\n')
  }

  /** `spans of code` in the prose. */
  get spans(): string[] {
    return [...this.prose.matchAll(/`([^`]+)`/g)].map(([, text]) => (text as string).replace(/\s+/g, ' '))
  }

  /** Where its links go. */
  get links(): string[] {
    const inline = [...this.prose.replace(/`[^`]*`/g, '`').matchAll(/\]\(\s*([^)\s]+)\s*\)/g)]
    const defined = [...this.prose.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)]
    return [...inline, ...defined].map(([, target]) => target as string)
  }

  get fences(): Fence[] {
    const sections = read(this.path).split(/^#+ /m)
    return sections.flatMap((section) =>
      [...section.matchAll(/^```(\w+)(?: (\S+))?\n([\s\S]*?)^```$/gm)].map(([, kind, file, text]) => ({
        kind: kind as string,
        file,
        text: text as string,
        heading: section.split('\n')[0] as string,
      })),
    )
  }

  get headings(): string[] {
    return [...this.prose.matchAll(/^#+ (.*)$/gm)].map(([, text]) => text as string)
  }

  /** The names under which its headings can be reached: small letters, hyphens for spaces, no other punctuation, numbered if they repeat. */
  get anchors(): string[] {
    const seen = new Map<string, number>()
    return this.headings.map((heading) => {
      const name = heading
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\-_ ]/gu, '')
        .replaceAll(' ', '-')
      const before = seen.get(name) ?? 0
      seen.set(name, before + 1)
      return before === 0 ? name : `${name}-${before}`
    })
  }

  /** The text under a heading, up to the next one of any level. */
  section(heading: string): string {
    const lines = this.prose.split('\n')
    const from = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === heading)
    if (from === -1) throw new Error(`${this.path} has no heading "${heading}"`)
    const length = lines.slice(from + 1).findIndex((line) => /^#+ /.test(line))
    return lines.slice(from + 1, length === -1 ? undefined : from + 1 + length).join('\n')
  }

  /** The rows of the table whose first column has this title: cells, without the head. */
  table(title: string): string[][] {
    const rows = this.prose.split('\n').map((line) =>
      line.startsWith('|')
        ? line
            .slice(1)
            .replace(/\|\s*$/, '')
            .split(/(?<!\\)\|/)
            .map((cell) => cell.trim().replaceAll('\\|', '|'))
        : undefined,
    )
    const from = rows.findIndex((cells) => cells?.[0] === title)
    if (from === -1) throw new Error(`${this.path} has no table "${title}"`)
    const length = rows.slice(from).indexOf(undefined)
    return rows.slice(from + 2, length === -1 ? undefined : from + length) as string[][]
  }
}
