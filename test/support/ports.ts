import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Below this the kernel gives no ports to clients (ip(7), ip_local_port_range), so that no connection takes one between its choice and its use. */
const CLIENTS_FROM = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')[0])
const FIRST = 10_240

/** A port that nobody listens on now, on any address, and that no client is given. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (CLIENTS_FROM - FIRST))
    if (await canListen(port)) return port
  }
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer()
  const isFree = await new Promise<boolean>((done) => {
    server.once('error', () => done(false))
    server.listen(port, () => done(true))
  })
  if (isFree) await new Promise((done) => server.close(done))
  return isFree
}
