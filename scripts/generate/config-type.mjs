// src/library/config.ts: the type of a config file, with what each key means.

export function configType({ SETTINGS, keyOf, isDenial, schemaOf }) {
  const fields = SETTINGS.map((row) => {
    const { help, default: without } = row
    const text = `${isDenial(row) ? 'false: ' : ''}${help}${without === undefined ? '' : `. Default: ${without}`}`
    const type = typeOf(schemaOf(row))
    const line = `  readonly ${keyOf(row)}?: ${type}\n`
    const long = `  readonly ${keyOf(row)}?:\n${type
      .split(' | ')
      .map((one) => `    | ${one}\n`)
      .join('')}`
    return `${comment(text)}${line.length > 121 ? long : line}`
  })
  return `// Made by scripts/generate.mjs from src/cli/option-table.ts.

/** What a config file may hold. */
export interface Config {
  /** The program and its arguments, if the command line names none. */
  readonly command?: readonly string[]
  /** Environment of the program, as far as neither an env file nor ours says otherwise. */
  readonly env?: Readonly<Record<string, string | number | boolean>>
${fields.join('')}}

/** Says nothing but what type a config is of: \`export default defineConfig({ … })\`. */
export function defineConfig(config: Config): Config {
  return config
}
`
}

function comment(text) {
  const line = `  /** ${text.replaceAll('*/', '* /')} */\n`
  return line.length <= 140
    ? line
    : `  /**\n${wrap(text.replaceAll('*/', '* /'), 130)
        .map((one) => `   * ${one}\n`)
        .join('')}   */\n`
}

function wrap(text, columns) {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== '' && last.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

function typeOf({ type, enum: known, items, anyOf }) {
  if (anyOf !== undefined) return [...new Set(anyOf.map(typeOf))].join(' | ')
  if (known !== undefined) return known.map((one) => (typeof one === 'string' ? `'${one}'` : String(one))).join(' | ')
  if (type === 'array') {
    const one = typeOf(items)
    return `readonly ${one.includes('|') ? `(${one})` : one}[]`
  }
  return type === 'integer' ? 'number' : type
}
