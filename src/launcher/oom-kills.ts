import { readFileSync } from 'node:fs'

/**
 * How many processes the kernel has killed for want of memory: in our control group (its workers are in it), or, where that cannot be
 * read, on the whole machine. null: it does not tell. cgroup v2 memory.events, v1 memory.oom_control, /proc/vmstat (Linux 4.13).
 */
export function readOomKills(root = ''): number | null {
  for (const path of [...ownGroups(root), `${root}/proc/vmstat`]) {
    const count = /^oom_kill (\d+)$/m.exec(read(path) ?? '')?.[1]
    if (count !== undefined) return Number(count)
  }
  return null
}

function ownGroups(root: string): string[] {
  return (read(`${root}/proc/self/cgroup`) ?? '').split('\n').flatMap((line) => {
    const [id, controllers, path] = line.split(':')
    if (path === undefined) return []
    if (id === '0') return [`${root}/sys/fs/cgroup${path}/memory.events`]
    return controllers === 'memory' ? [`${root}/sys/fs/cgroup/memory${path}/memory.oom_control`] : []
  })
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
