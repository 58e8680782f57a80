import { join, relative } from 'node:path'
import {
  isAwaitExpression,
  isCallExpression,
  isClassDeclaration,
  isConstructorDeclaration,
  isFunctionDeclaration,
  isMethodDeclaration,
  isNewExpression,
  isStringLiteral,
  isTypeAliasDeclaration,
  type Node,
  type SourceFile,
} from 'typescript/unstable/ast'
import { API, type Checker, type Type, TypeFlags } from 'typescript/unstable/sync'
import { ROOT } from './paths'

const SRC = join(ROOT, 'src')

/** Where something begins that may last: `at` is the file below src/ and the function in it. */
export interface Wait {
  readonly at: string
  readonly text: string
}

/**
 * Where promises come from that wait for somebody else: made by hand, given by what is not ours, or awaited though nobody knows what it is;
 * and what blocks its thread. Other promises are made of these. What only lets time pass is none, nor is the loading of a file of ours.
 */
export function waitsOfSources(): Wait[] {
  const api = new API({ cwd: ROOT })
  try {
    const [project] = api.updateSnapshot({ openProjects: [join(ROOT, 'tsconfig.json')] }).getProjects()
    if (project === undefined) throw new Error('no project')
    const { program, checker } = project
    const names = program.getSourceFileNames().filter((name) => name.startsWith(`${SRC}/`))
    return names.flatMap((name) => waitsOf(program.getSourceFile(name) as SourceFile, checker))
  } finally {
    api.close()
  }
}

/** The kinds of timers that the rules of the launcher know: `ready:${number}` is one of kind `ready`. */
export function timersOfBrain(): string[] {
  const api = new API({ cwd: ROOT })
  try {
    const [project] = api.updateSnapshot({ openProjects: [join(ROOT, 'tsconfig.json')] }).getProjects()
    const file = project?.program.getSourceFile(join(SRC, 'launcher/brain/events.ts')) as SourceFile
    const alias = file.statements.find((one) => isTypeAliasDeclaration(one) && one.name.text === 'TimerId') as Node
    return [...alias.getText(file).matchAll(/`(\w+):/g)].map(([, kind]) => kind as string)
  } finally {
    api.close()
  }
}

function waitsOf(file: SourceFile, checker: Checker): Wait[] {
  const nodes: Node[] = []
  const visit = (node: Node): void => {
    if (isNewExpression(node) || isCallExpression(node) || isAwaitExpression(node)) nodes.push(node)
    node.forEachChild(visit)
  }
  visit(file)
  // Of an await, what is awaited.
  const types = checker.getTypeAtLocation(nodes.map((node) => (isAwaitExpression(node) ? node.expression : node)))
  return nodes
    .filter((node, index) => isWait(node, types[index], file, checker))
    .map((node) => ({ at: `${relative(SRC, file.fileName)} ${nameOf(node)}`, text: node.getText(file).slice(0, 80) }))
}

function isWait(node: Node, type: Type | undefined, file: SourceFile, checker: Checker): boolean {
  if (type === undefined) return false
  if (isAwaitExpression(node)) return (type.flags & (TypeFlags.Any | TypeFlags.Unknown)) !== 0
  if (isNewExpression(node)) return node.expression.getText(file) === 'Promise' && !isTimeAlone(node, file)
  if (!isCallExpression(node)) return false
  const called = node.expression.getText(file)
  // With 0 it looks, and does not wait.
  if (BLOCKING.test(called)) return node.arguments.at(-1)?.getText(file) !== '0'
  if (called === 'import') return !node.arguments.every((path) => isStringLiteral(path) && path.text.startsWith('.'))
  if (COMBINED.test(called) || !/^Promise(Like)?<.*[^\]]$/.test(checker.typeToString(type))) return false
  const declared = checker.getResolvedSignature(node)?.declaration?.path
  if (declared?.toLowerCase().startsWith(`${SRC}/`.toLowerCase())) return false
  return !(declared?.endsWith('/timers/promises.d.ts') || KEPT.test(called))
}

const BLOCKING = /(?:^|\.)(?:execSync|execFileSync|spawnSync|pollSync|wait|waitReadable)$/
const COMBINED = /^Promise\.|\.(?:then|catch|finally)$/
/** From a Map, what was put there before. */
const KEPT = /\.[gs]et$/

/** `new Promise((done) => setTimeout(done, ms))`, and one turn of the event loop. */
function isTimeAlone(node: Node, file: SourceFile): boolean {
  return /^new Promise(?:<\w+>)?\((?:setImmediate|\((\w+)\) => (?:setTimeout|setImmediate)\(\1\b.*)\)$/.test(
    node.getText(file),
  )
}

/** The functions and classes that it stands in. */
function nameOf(node: Node): string {
  const names: string[] = []
  for (let one = node.parent; one !== undefined; one = one.parent)
    if (isFunctionDeclaration(one) || isMethodDeclaration(one) || isClassDeclaration(one))
      names.unshift(one.name?.getText() ?? '')
    else if (isConstructorDeclaration(one)) names.unshift('constructor')
  return names.join('.') || '(file)'
}
