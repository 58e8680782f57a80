import { fstatSync, readdirSync, readlinkSync } from 'node:fs'

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
