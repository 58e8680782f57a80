// docs/options.md: every option, by heading.

export function optionsPage({ GROUPS, OPTIONS, VERBS }) {
  const parts = Object.entries(GROUPS).map(([group, title]) => {
    const rows = OPTIONS.filter((row) => row.group === group).map((row) => `| ${cells(row, VERBS).join(' | ')} |`)
    return `## ${title}\n\n| option | of | meaning |\n|---|---|---|\n${rows.join('\n')}\n`
  })
  return `${HEAD}\n${parts.join('\n')}`
}

const HEAD = `# Options

<!-- Made by scripts/generate.mjs from src/cli/option-table.ts. -->

\`reuseport-run VERB --help\` prints those of a verb; \`start\` is the verb that need not be said. TIME is 500ms, 30s, 2m or 1h; a bare number
is seconds. SHARE% is 1% or 0.5%. Those of a launcher can stand in a config file and in the environment, too: [config.md](config.md).
`

function cells({ name, short, value, verbs, default: without, help, see }, all) {
  const words = `--${name}${value === undefined ? '' : ` ${value}`}`
  const more = see === undefined ? '' : ` ([${see.split('#')[0]}](${see}))`
  const end = without === undefined ? '' : `. Default: ${without}`
  return [
    `${short === undefined ? '' : `\`-${short}\`, `}\`${words}\``,
    verbs.length === all.length ? 'all' : verbs.join(', '),
    `${help}${more}${end}`,
  ].map((text) => text.replaceAll('|', '\\|'))
}
