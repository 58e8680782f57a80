import { pathToFileURL } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'

/** What the thread says: what the file exports, or why that cannot be had. */
export type Evaluated = { readonly content: unknown } | { readonly message: string; readonly code: string | undefined }

async function evaluate(path: string): Promise<Evaluated> {
  try {
    const { default: exported } = (await import(pathToFileURL(path).href)) as { default?: unknown }
    // What a compiler makes of `export default` for CommonJS.
    const isCompiled = typeof exported === 'object' && exported !== null && '__esModule' in exported
    const content = await (isCompiled ? (exported as { default?: unknown }).default : exported)
    if (content === undefined) return { message: 'it has no default export', code: undefined }
    return { content: structuredClone(content) }
  } catch (error) {
    return describe(error, path)
  }
}

function describe(error: unknown, path: string): Evaluated {
  if (!(error instanceof Error)) return { message: `it threw ${String(error)}`, code: undefined }
  const { name, message, stack = '' } = error
  const { code } = error as NodeJS.ErrnoException
  if (name === 'DataCloneError') return { message: `what it exports is no plain data: ${message}`, code }
  const [, place] = new RegExp(`${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}:(\\d+)`).exec(stack) ?? []
  return { message: `${name}: ${message}${place === undefined ? '' : ` (line ${place})`}`, code }
}

void evaluate(workerData as string).then((said) => parentPort?.postMessage(said))
