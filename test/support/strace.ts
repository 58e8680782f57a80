import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'

/** What happens at a system call of a process that runs, `CALL:signal=SIGKILL:when=2` or `CALL:error=ENOMEM:when=1` (strace(1), -e inject). Counted from now on, in its main thread. */
export async function inject(pid: number, what: string): Promise<{ end(): Promise<void> }> {
  const words = ['-o', '/dev/null', '-e', `inject=${what}`, '-p', String(pid)]
  const strace: ChildProcess = spawn('strace', words, { stdio: ['ignore', 'ignore', 'pipe'] })
  const gone = once(strace, 'exit')
  const end = async (): Promise<void> => {
    strace.kill('SIGTERM')
    await gone
  }
  onTestFinished(end)
  for await (const chunk of strace.stderr ?? []) if (String(chunk).includes('attached')) return { end }
  throw new Error('strace could not attach')
}
