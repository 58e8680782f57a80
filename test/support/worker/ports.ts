import { createServer } from 'node:net'

/** A port that is free now: asked of the kernel, on all addresses. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, () => done()))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}
