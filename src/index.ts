/** The library: what a program may import. */
export { ControlClient } from './control-client.js'
export type {
  CanaryPlan,
  CanaryReport,
  GenerationState,
  KernelCounters,
  LauncherState,
  ReloadStep,
  ReloadWait,
  ScaleVerdict,
  SocketStatus,
  Status,
  Verdict,
  WorkerState,
  WorkerStatus,
  WorkerVerdict,
} from './control-protocol.js'
export { type ErrorCode, type Facts, ReuseportError } from './errors.js'
export { type BindReusePortOptions, bindReusePort } from './library/bind-reuse-port.js'
export { type Config, defineConfig } from './library/config.js'
export { type ListenReusePortOptions, listenReusePort } from './library/listen-reuse-port.js'
export type { Inherited, ListenerEvents, ReusePortListener, ReusePortSocket } from './library/listener.js'
export { shareMetrics } from './library/share-metrics.js'
export type { DrainCounts, MetricsRegistry } from './meeting.js'
export { VERSION } from './version.js'
