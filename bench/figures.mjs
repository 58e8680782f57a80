// Figures of several rounds, and how they are written.

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

export const median = (values) => percentile(values, 0.5)

export const ratio = (value) => value.toFixed(2)

/** A duration. */
export const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0))

/** Of a Markdown table. */
export const lineOf = (cells) => `| ${cells.join(' | ')} |`

export function tableOf(head, rows) {
  return [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows].map(lineOf).join('\n')
}
