/** What was meant by a word that is none of the names, if one of them is near enough. */
export function nearest<T extends string>(word: string, names: readonly T[]): T | undefined {
  const near = names.map((name) => ({ name, far: distance(word, name) })).sort((a, b) => a.far - b.far)[0]
  return near !== undefined && near.far <= Math.max(1, Math.floor(near.name.length / 3)) ? near.name : undefined
}

/** How many letters to change, add, leave out or swap with their neighbour (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swap = isSwap ? (before[j - 2] as number) + 1 : Number.POSITIVE_INFINITY
      next[j] = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, change, swap)
    }
    before = row
    row = next
  }
  return row[b.length] as number
}
