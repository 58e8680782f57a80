import type { Socket } from 'node:dgram'
import type { Fate } from '../../meeting.js'
import type { ListenerKey } from '../../protocol.js'
import type { Claim } from '../../serving/claim.js'
import type { DatagramClaim } from '../../serving/datagrams.js'
import type { Server } from '../../serving/handles.js'

/** What a program asks for with `handover`; times in milliseconds. */
export interface HandoverOptions {
  /** A new process that is not ready by then is sent away. */
  readonly readyTimeoutMs: number
  /** What is open when this process has been succeeded has so long. */
  readonly drainTimeoutMs: number
  /** Idle HTTP/1.1 connections go on in the other process. */
  readonly migrate: boolean
  /** UDP: flows stay with the old process for so long. */
  readonly udpLingerMs: number
}

/** One listener that goes from process to process. */
export interface Entry extends HandoverOptions {
  readonly key: ListenerKey
  readonly claim: Claim | DatagramClaim
  /** What is drained. */
  readonly server: Server
  /** What hears of it when nothing comes of it. */
  readonly program: Server | Socket
  readonly fate: Fate
  isReady: boolean
  /** Begins to accept, or to let others accept. Throws what listen(2) says. */
  serve(): void
  /** Nothing is left to be done with it. */
  end(): void
  /** Takes the path of a unix listener away. */
  unlink(): void
}
