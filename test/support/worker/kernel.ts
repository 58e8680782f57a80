import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What names a socket for good, whoever holds it under whatever number. */
export const inode = (fd: number): number => fstatSync(fd).ino

/** What a process holds open: "socket:[123]", "/dev/null". */
export function openFiles(pid: number, numbers?: readonly number[]): string[] {
  return (numbers ?? readdirSync(`/proc/${pid}/fd`)).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
    } catch {
      return [] // closed since
    }
  })
}

/** Whether the kernel asks after the client of this connection (SO_KEEPALIVE), as /proc/net/tcp shows it: timer 02. */
export function hasKeepAlive(port: number, clientPort: number): boolean {
  const hex = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0')
  const lines = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').split('\n'))
  const line = lines.find((one) => new RegExp(`: [0-9A-F]+:${hex(port)} [0-9A-F]+:${hex(clientPort)} `).test(one))
  if (line === undefined) throw new Error(`no connection from ${clientPort} to ${port}`)
  return line.trim().split(/\s+/)[5]?.startsWith('02:') ?? false
}
