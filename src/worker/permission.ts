import { loadAddon } from './addon.js'
import type { Handed } from './environment.js'
import { say } from './say.js'

/** `node --permission` without `--allow-addons`. Said once, since a reload can neither hold nor drain this program. */
export function isAddonRefused(handed: Handed): boolean {
  try {
    loadAddon(handed.binding)
    return false
  } catch (error) {
    const [firstLine] = (error as Error).message.split('\n')
    say(`this program is not managed: --permission keeps the addon out, --allow-addons would let it in (${firstLine})`)
    return true
  }
}
