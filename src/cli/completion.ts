import { OPTIONS, type OptionRow, optionsOf, VERBS, type Verb, WORDS } from './option-table.js'
import { completionOf, wordsOf } from './value-types.js'
import { VERB_TABLE } from './verb-table.js'

export type Shell = 'bash' | 'zsh' | 'fish'

/**
 * What a shell must know. All three go the same way: the words up to the cursor say which verb it is, or that the program has begun, of
 * which nobody here knows anything; then an option that waits for its value, or options and what may follow the verb.
 */
export function completion(shell: Shell): string {
  return { bash, zsh, fish }[shell]()
}

const flags = ({ name, short }: OptionRow): string[] => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]
const withValue = OPTIONS.filter(({ value }) => value !== undefined)
/** Options that take the next word. */
const TAKING = withValue.flatMap(flags).join('|')
const NAMED = VERBS.filter((verb) => verb !== 'start')

/** The words that come after a verb, by verb. */
function afterVerb(): [Verb, readonly string[]][] {
  return Object.entries(WORDS) as [Verb, readonly string[]][]
}

/** The same of bash and zsh: sets `verb` to the verb, or to "program", and `after` to the word that stands behind it. */
function scan(words: string, cursor: string, first: number): string {
  return `  local verb=start after= skip= word i
  for ((i = ${first}; i < ${cursor}; i++)); do
    word=\${${words}[i]}
    if [[ $word == = ]]; then continue; fi
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
      --) verb=program; break ;;
      ${TAKING}) skip=1 ;;
      -*) ;;
      ${['start', ...NAMED].join('|')}) if [[ $verb != start ]]; then verb=program; break; fi; verb=$word ;;
      *)
        case $verb:$after in
          ${afterVerb()
            .map(([verb]) => `${verb}:`)
            .join('|')}) after=$word ;;
          *) verb=program; break ;;
        esac ;;
    esac
  done`
}

function bash(): string {
  const values = withValue.map((row) => {
    const words = wordsOf(row.value as string)
    const kind = completionOf(row.value as string)
    const action =
      words.length > 0
        ? `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))`
        : kind === 'directory'
          ? 'COMPREPLY=($(compgen -d -- "$cur"))'
          : kind === 'file'
            ? 'COMPREPLY=($(compgen -f -- "$cur"))'
            : ':'
    return `    ${flags(row).join('|')}) ${action}; return ;;`
  })
  const options = VERBS.map((verb) => {
    const words = verb === 'start' ? [] : (WORDS[verb] ?? [])
    const all = [...optionsOf(verb).map(({ name }) => `--${name}`), ...words]
    return `    ${verb}) words='${all.join(' ')}' ;;`
  })
  return `# bash completion of reuseport-run: eval "$(reuseport-run completion bash)"
_reuseport_run() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
${scan('COMP_WORDS', 'COMP_CWORD', 1)}
  # Of the program we know nothing: files.
  if [[ $verb == program ]]; then compopt -o default 2>/dev/null; return; fi
  case $prev in
${values.join('\n')}
  esac
  case $verb in
${options.join('\n')}
  esac
  if [[ $verb == start && $cur != -* ]]; then
    words='${NAMED.join(' ')}'
    compopt -o default 2>/dev/null
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _reuseport_run reuseport-run
`
}

/** For a shell's single quotes, and on one line. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
/** Of an item of _describe a colon ends the name. */
const item = (name: string, text: string): string => quoted(`${name.replaceAll(':', '\\:')}:${text}`)

function zsh(): string {
  const values = withValue.map((row) => {
    const words = wordsOf(row.value as string)
    const kind = completionOf(row.value as string)
    const action =
      words.length > 0
        ? `compadd -- ${words.map(quoted).join(' ')}`
        : kind === 'directory'
          ? '_files -/'
          : kind === 'file'
            ? '_files'
            : `_message ${quoted(row.value as string)}`
    return `    ${flags(row).join('|')}) ${action}; return ;;`
  })
  const options = VERBS.map((verb) => {
    const rows = optionsOf(verb).map(({ name, help }) => item(`--${name}`, help))
    return `    ${verb}) options=(${rows.join(' ')}) ;;`
  })
  const words = afterVerb().map(([verb, all]) => `    ${verb}:) compadd -- ${all.join(' ')} ;;`)
  return `#compdef reuseport-run
# zsh completion of reuseport-run: eval "$(reuseport-run completion zsh)", after compinit
_reuseport_run() {
${scan('words', 'CURRENT', 2)}
  if [[ $verb == program ]]; then _files; return; fi
  case \${words[CURRENT-1]} in
${values.join('\n')}
  esac
  local -a options verbs
  case $verb in
${options.join('\n')}
  esac
  case $verb:$after in
${words.join('\n')}
    start:)
      verbs=(${NAMED.map((verb) => item(verb, VERB_TABLE[verb].summary)).join(' ')})
      _describe verb verbs
      _files ;;
  esac
  _describe option options
}
compdef _reuseport_run reuseport-run
`
}

function fish(): string {
  const is = (verbs: readonly string[]): string => quoted(`contains -- (__reuseport_run_verb) ${verbs.join(' ')}`)
  const options = OPTIONS.map((row) => {
    // A verb that its word is still missing from is "config:".
    const verbs = VERBS.filter((verb) => optionsOf(verb).includes(row)).flatMap((verb) =>
      WORDS[verb] === undefined ? [verb] : [verb, `${verb}:`],
    )
    const words = row.value === undefined ? [] : wordsOf(row.value)
    const kind = row.value === undefined ? undefined : completionOf(row.value)
    const value =
      row.value === undefined
        ? ''
        : words.length > 0
          ? ` -x -a ${quoted(words.join(' '))}`
          : kind === 'directory'
            ? " -x -a '(__fish_complete_directories)'"
            : kind === 'file'
              ? ' -r -F'
              : ' -x'
    const short = row.short === undefined ? '' : ` -s ${row.short}`
    return `complete -c reuseport-run -n ${is(verbs)} -l ${row.name}${short}${value} -d ${quoted(row.help)}`
  })
  const verbs = NAMED.map(
    (verb) => `complete -c reuseport-run -n ${is(['start'])} -a ${verb} -d ${quoted(VERB_TABLE[verb].summary)}`,
  )
  const words = afterVerb().map(
    ([verb, all]) => `complete -c reuseport-run -f -n ${is([`${verb}:`])} -a ${quoted(all.join(' '))}`,
  )
  return `# fish completion of reuseport-run: reuseport-run completion fish | source
function __reuseport_run_verb
    set -l verb start
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --
                echo program
                return
            case '--*=*'
            case ${TAKING.split('|').join(' ')}
                set skip 1
            case '-*'
            case start ${NAMED.join(' ')}
                if test $verb != start
                    echo program
                    return
                end
                set verb $word
                if contains $word ${afterVerb()
                  .map(([verb]) => verb)
                  .join(' ')}
                    set verb $word:
                end
            case '*'
                if string match -q '*:' $verb
                    set verb (string trim -r -c : $verb)
                else
                    echo program
                    return
                end
        end
    end
    echo $verb
end
complete -c reuseport-run -f -n ${quoted('not contains -- (__reuseport_run_verb) program start')}
${[...verbs, ...words, ...options].join('\n')}
`
}
