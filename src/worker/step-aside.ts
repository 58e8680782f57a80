import { loadAddon } from './addon'
import type { Handed } from './environment'
import { say } from './say'

/**
 * Bun: uv_poll_init panics the process. Deno: its http server does not come by our hook, so a hold would be ignored. They are run like
 * programs that are not Node.
 */
export function isOtherRuntime(): boolean {
  return process.versions['bun'] !== undefined || process.versions['deno'] !== undefined
}

/** False under `--permission` without addons; said once, since a reload cannot hold or drain this program. */
export function mayLoadAddon(handed: Handed): boolean {
  if ((process as { permission?: unknown }).permission === undefined) return true
  try {
    loadAddon(handed.binding)
    return true
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    say(`this program is not managed: --permission keeps the addon out (${code}); --allow-addons would let it in`)
    return false
  }
}
