import { VERSION } from '../../version.js'
import { now } from '../clock.js'
import type { Parts } from '../parts.js'
import { stderr, stdout } from '../stderr.js'
import { IMAGE_VERSION, type Image, saveOptions } from './image.js'

/** Everything that a launcher is, for another image of its process (Launcher.resume). */
export function save(parts: Parts): Image {
  const { runtime, renewals } = parts
  parts.http?.keep()
  return {
    version: IMAGE_VERSION,
    pid: process.pid,
    by: { version: VERSION, node: process.version },
    at: now(),
    ldPreload: process.env['LD_PRELOAD'] ?? null,
    options: saveOptions(renewals.options),
    kept: renewals.kept ?? null,
    directory: runtime.directory,
    lock: runtime.lock,
    startedAt: parts.startedAt,
    state: parts.queue.state,
    specs: parts.specs.save(),
    verdicts: parts.verdicts.save(),
    timers: parts.timers.save(),
    sockets: parts.sockets.save(),
    processes: parts.processes.save(),
    channels: parts.channels?.save() ?? null,
    foreign: parts.foreign?.save() ?? null,
    notify: parts.notify?.save() ?? null,
    prober: parts.prober?.save() ?? [],
    warmUps: parts.warmUps?.save() ?? [],
    service: parts.service?.save() ?? null,
    hands: parts.hands.save(),
    control: parts.control.save(),
    http: parts.http?.servers.save() ?? null,
    signals: parts.saveSignals(),
    stderr: stderr.unwritten.toString('base64'),
    stdout: stdout.unwritten.toString('base64'),
  }
}
