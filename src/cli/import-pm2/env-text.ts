const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/

/** Lines of an environment file; what cannot stand in one is named in `without`. */
export function envText(env: Readonly<Record<string, string>>): { readonly text: string; readonly without: string[] } {
  const without: string[] = []
  const lines = Object.entries(env).map(([name, value]) => {
    const quoted = NAME.test(name) ? quote(value) : undefined
    if (quoted === undefined) without.push(name)
    return quoted === undefined ? '' : `${name}=${quoted}\n`
  })
  return { text: lines.join(''), without }
}

/** Single quotes and backticks keep everything as it is; double ones would make a line end of "\n". */
function quote(value: string): string | undefined {
  if (/^[\w./:@%+,-]*$/.test(value)) return value
  if (value.includes('\0') || value.includes('\r')) return undefined
  const mark = ["'", '`'].find((one) => !value.includes(one))
  if (mark !== undefined) return `${mark}${value}${mark}`
  return value.includes('"') || value.includes('\\') ? undefined : `"${value}"`
}
