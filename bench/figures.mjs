// Figures of several rounds, and how they are written.

export const percentile = (values, share) =>
  atShare(
    [...values].sort((a, b) => a - b),
    share,
  )

export const atShare = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]

export const median = (values) => percentile(values, 0.5)

export const ratio = (value) => value.toFixed(2)

/** A duration. */
export const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0))

/** Of a Markdown table. */
export const lineOf = (cells) => `| ${cells.join(' | ')} |`

export function tableOf(head, rows) {
  return [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows].map(lineOf).join('\n')
}

/** A goal: `values` are those of the rounds; their median is to be at most or at least `bound`; '=': each of them is to be it. */
export function goalOf(goal, relation, bound, values) {
  if (values.length === 0) return { goal, target: String(bound), bound, value: null, values, met: false }
  const value = relation === '=' ? Math.max(...values) : median(values)
  const met = { '≤': value <= bound, '≥': value >= bound, '=': value === bound }[relation]
  return { goal, target: `${relation === '=' ? '' : `${relation} `}${bound}`, bound, value, values, met }
}
