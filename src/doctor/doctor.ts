import { native } from '../native.js'
import type { LauncherOptions } from '../options.js'
import type { Finding } from './finding.js'
import { checkKernel, checkSettings } from './kernel.js'
import { checkDescriptors } from './limits.js'
import { checkName, checkRuntimeDir } from './place.js'
import { checkAddon, checkLibc, checkNode } from './platform.js'
import { checkPorts } from './ports.js'
import { checkProgram } from './program.js'
import { checkReadiness } from './readiness.js'
import { checkSystemd, systemdVersion } from './systemd.js'

/**
 * Looks whether a launcher with these options would run well here. Nothing is started, and nothing is left behind. Without a command
 * (empty) nothing is said of the program.
 */
export async function examine(options: LauncherOptions, directory: string): Promise<Finding[]> {
  const { name, runtimeDir, command, env, envFiles, listen } = options
  const { finding: addon, native: loaded } = checkAddon(native)
  const place = checkRuntimeDir(name, runtimeDir)
  const { finding: taken, status } = await checkName(name, runtimeDir, directory)
  const own = status?.listeners.flatMap(({ sockets }) => sockets.map(({ inode }) => inode)) ?? []
  const isUdp = listen.some(({ from }) => typeof from !== 'string' && from.kind === 'udp')
  const findings = [
    checkNode(process.version),
    addon,
    checkLibc(glibcVersion()),
    ...(loaded === null ? [] : checkKernel(loaded)),
    ...checkSettings({ isUdp }),
    ...checkDescriptors(),
    place,
    taken,
    ...checkPorts(portsOf(options), own),
    checkSystemd(systemdVersion()),
  ]
  if (command.length === 0) return findings
  const program = checkProgram({ command, directory, env, envFiles, isGiven: listen.length > 0 })
  return [...findings, ...program, checkReadiness(options)]
}

function portsOf({ ports, listen }: LauncherOptions): number[] {
  const given = listen.flatMap(({ from }) => (typeof from !== 'string' && from.kind === 'tcp' ? [from.port] : []))
  return [...new Set([...(ports ?? []), ...given])]
}

function glibcVersion(): string | undefined {
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return report.header.glibcVersionRuntime
}
