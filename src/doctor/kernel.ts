import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import type { Native } from '../native.js'
import { type Finding, fail, ok, warn } from './finding.js'

/** Node's own backlog, and what most programs listen with (net.Server.listen). */
const USUAL_BACKLOG = 511
/** A burst of datagrams that a program answers a moment later, at a few hundred bytes each. */
const USEFUL_RECEIVE_BUFFER = 1_048_576

/** What the kernel can do, tried, not looked up: a container may refuse what its version has. */
export function checkKernel(native: Native): Finding[] {
  return [
    ok('kernel', `Linux ${release()}`),
    tryReusePort(native),
    trySteering(native),
    tryPidfd(native),
    tryPeerPidfd(native),
  ]
}

/** Two sockets on one port, as two slots have them. */
function tryReusePort(native: Native): Finding {
  const failure = withGroup(native, () => {})
  if (failure === null) return ok('reuseport', 'two sockets share a port (SO_REUSEPORT)')
  return fail(
    'reuseport',
    `two sockets cannot share a port: ${failure}`,
    'Linux 3.9 has it; a sandbox such as gVisor may not.',
  )
}

function trySteering(native: Native): Finding {
  const failure = withGroup(native, (fd) => {
    native.attachSteering(fd, [1, 1], 'random')
    native.detachSteering(fd)
  })
  if (failure === null) return ok('steering', 'programs choose the socket of a new connection (cBPF)')
  return warn(
    'steering',
    `the kernel takes no steering program: ${failure}`,
    'Reloads lose nothing all the same. --balance and --canary have no effect, and sockets of slots that are scaled away stay parked. Allow setsockopt(SO_ATTACH_REUSEPORT_CBPF) in the seccomp profile.',
  )
}

/** What went wrong; null: nothing. */
function withGroup(native: Native, use: (fd: number) => void): string | null {
  const sockets: number[] = []
  try {
    let port = 0
    for (let slot = 0; slot < 2; slot++) {
      const fd = native.socket('inet', 'stream')
      sockets.push(fd)
      native.setOption(fd, 'reusePort', 1)
      native.bindInet(fd, '127.0.0.1', port)
      native.listen(fd, 1)
      port = (native.localAddress(fd) as { port: number }).port
    }
    use(sockets[0] as number)
    return null
  } catch (error) {
    return codeOf(error)
  } finally {
    for (const fd of sockets) native.close(fd)
  }
}

function tryPidfd(native: Native): Finding {
  try {
    native.close(native.pidfdOpen(process.pid))
    return ok('pidfd', 'processes are watched by descriptor (pidfd)')
  } catch (error) {
    return fail(
      'pidfd',
      `pidfd_open failed: ${codeOf(error)}`,
      'Linux 5.3 has it; a container must allow it in its seccomp profile.',
    )
  }
}

function tryPeerPidfd(native: Native): Finding {
  const [one, other] = native.socketPair()
  try {
    native.close(native.peerPidfd(one))
    return ok('peer-pidfd', 'the other end of a socket is known by descriptor (SO_PEERPIDFD)')
  } catch {
    // Every use of it has another way.
    return ok('peer-pidfd', 'not here (SO_PEERPIDFD needs Linux 6.5): pids are used instead')
  } finally {
    native.close(one)
    native.close(other)
  }
}

/** Settings of the kernel that change what clients see. `root`: of the file system, for tests. `isUdp`: a UDP socket is asked for. */
export function checkSettings({ root = '', isUdp = false }: { root?: string; isUdp?: boolean } = {}): Finding[] {
  const somaxconn = setting(root, 'net/core/somaxconn')
  const rmemMax = setting(root, 'net/core/rmem_max')
  const migrate = setting(root, 'net/ipv4/tcp_migrate_req')
  return [
    ...(somaxconn === null ? [] : [checkBacklog(somaxconn)]),
    ...(rmemMax === null || !isUdp ? [] : [checkReceiveBuffer(rmemMax)]),
    ...(migrate === null
      ? []
      : [
          ok(
            'tcp_migrate_req',
            `${migrate}: ${migrate === 0 ? 'off, and not needed: ' : 'on, though not needed: '}no socket is closed with connections in its queue`,
          ),
        ]),
  ]
}

function checkBacklog(somaxconn: number): Finding {
  if (somaxconn >= USUAL_BACKLOG)
    return ok('somaxconn', `${somaxconn}: so many connections may wait in a queue at most`)
  return warn(
    'somaxconn',
    `${somaxconn}: a backlog of ${USUAL_BACKLOG}, which Node asks for, is cut to it`,
    `sysctl -w net.core.somaxconn=4096 (in a container: --sysctl net.core.somaxconn=4096)`,
  )
}

function checkReceiveBuffer(rmemMax: number): Finding {
  if (rmemMax >= USEFUL_RECEIVE_BUFFER)
    return ok('rmem_max', `${rmemMax} bytes: the largest receive buffer of a UDP socket`)
  return warn(
    'rmem_max',
    `${rmemMax} bytes: a UDP socket can have no larger receive buffer, and what comes in a burst is dropped`,
    `sysctl -w net.core.rmem_max=${4 * USEFUL_RECEIVE_BUFFER}`,
  )
}

function setting(root: string, name: string): number | null {
  try {
    return Number(readFileSync(`${root}/proc/sys/${name}`, 'utf8'))
  } catch {
    return null
  }
}

function codeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}
