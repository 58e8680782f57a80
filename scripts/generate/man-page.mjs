// man/reuseport-run.1: verbs and options, in man(7).

export function manPage({ GROUPS, OPTIONS, VERBS, VERB_TABLE }) {
  const verbs = VERBS.map((verb) => {
    const { form, more } = VERB_TABLE[verb]
    return `.TP\n.B ${roff(`reuseport-run ${form}`)}\n${more.map(roff).join('\n.br\n')}\n`
  })
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const rows = OPTIONS.filter((row) => row.group === group).map((row) => option(row, VERBS))
    return `.SS ${title}\n${rows.join('')}`
  })
  return `.\\" Made by scripts/generate.mjs from src/cli/option-table.ts.
.TH REUSEPORT-RUN 1 "" "reuseport-run" "User Commands"
.SH NAME
reuseport-run \\- run a Node.js server so that nobody notices a deploy
.SH SYNOPSIS
${VERBS.map((verb) => `.B ${roff(`reuseport-run ${VERB_TABLE[verb].form}`)}`).join('\n.br\n')}
.SH DESCRIPTION
${verbs.join('')}.SH OPTIONS
TIME is 500ms, 30s, 2m or 1h; a bare number is seconds.
${groups.join('')}.SH ENVIRONMENT
.TP
.B REUSEPORT_RUN_\\fIOPTION\\fR
An option of a launcher: REUSEPORT_RUN_DRAIN_TIMEOUT is \\-\\-drain\\-timeout. A switch is 1 or 0. The command line counts before the
environment, the environment before the config file.
.TP
.B WEB_CONCURRENCY
The number of workers, if nothing else says it.
.TP
.BR NO_COLOR ", " FORCE_COLOR
No colours; colours even where there is no terminal.
.SH FILES
.TP
.I reuseport-run.config.json
In the working directory; also .js, .mjs, .cjs, .ts and .mts. Its keys are the names of the options: drainTimeout.
.SH EXIT STATUS
0 done; 1 failed; 2 the command line or the config file cannot be meant; 3 no launcher found; 4 the reload was aborted or undone, the old
version serves; 5 timed out; 75 the name is taken; 126, 127 the program cannot be executed, was not found.
`
}

function option({ name, short, value, verbs, default: without, help }, all) {
  const flags = `${short === undefined ? '' : `\\-${short}, `}\\-\\-${roff(name)}`
  const whose = verbs.length === all.length ? '' : ` Of ${verbs.join(', ')}.`
  const end = without === undefined ? '' : ` Default: ${without}.`
  return `.TP\n\\fB${flags}\\fR${value === undefined ? '' : ` \\fI${roff(value)}\\fR`}\n${roff(`${sentence(help)}${end}${whose}`)}\n`
}

function sentence(text) {
  const begun = /^[a-z]+[ ,;]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}

/** A line must not begin with a dot or a quote; hyphens and quotes as they are typed. */
function roff(text) {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('…', '...')
    .replaceAll('→', '->')
    .replace(/^\./, '\\&.')
}
