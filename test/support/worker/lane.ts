import { native } from './addon.js'
import type { FakeWorker } from './fake-launcher.js'

/** Lays a lane for this listener, as the launcher does: the receiver gets its end first. No end stays here. */
export async function layLane(from: FakeWorker, to: FakeWorker, listener: string): Promise<void> {
  const [out, into] = native.socketPair()
  try {
    await to.order({ type: 'receive', listener }, [{ name: 'lane', fd: into }])
    await from.order({ type: 'migrate', listener }, [{ name: 'lane', fd: out }])
  } finally {
    native.close(out)
    native.close(into)
  }
}
