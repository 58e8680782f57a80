import type { MetricType } from './exposition.js'

export interface Metric {
  readonly type: MetricType
  readonly help: string
  readonly labels: readonly string[]
  /** Of a histogram: upper ends, in seconds. */
  readonly buckets?: readonly number[]
}

const gauge = (help: string, ...labels: string[]): Metric => ({ type: 'gauge', help, labels })
const counter = (help: string, ...labels: string[]): Metric => ({ type: 'counter', help, labels })
const histogram = (help: string, buckets: readonly number[], ...labels: string[]): Metric => ({
  type: 'histogram',
  help,
  labels,
  buckets,
})

/** From 1 s, in which a small program is replaced, to the 10 minutes that a large one with long connections may take. */
const SECONDS = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]
/** 1/4 ms, and then twice as long each time up to 131 s: every fourth of the buckets that workers count in (protocol.ts). */
const ANSWERS = Array.from({ length: 20 }, (_, index) => 2 ** index / 4_000)

/**
 * Everything that `--metrics` shows, beside what the program's own registries say. A worker is named by its slot, never by its pid: each new
 * pid would be a new series (ecosystem.md §6).
 */
export const METRICS: Readonly<Record<string, Metric>> = {
  reuseport_info: gauge('Version of the launcher and of its Node; always 1.', 'version', 'node'),
  reuseport_start_time_seconds: gauge('Start of the launcher, in seconds since 1970.'),
  reuseport_ready: gauge(
    '1: every slot has somebody who accepts, and nobody has ordered a stop; else 0. What /readyz says.',
  ),
  reuseport_generation: gauge('Number of the working generation.'),
  reuseport_workers: gauge('Workers, by what they are doing.', 'state'),
  reuseport_warning: gauge('1 for each warning that status shows.', 'code'),
  reuseport_worker_restarts_total: counter(
    'Workers of a slot that were replaced, or are to be, and why.',
    'slot',
    'reason',
  ),
  reuseport_reloads_total: counter('Reloads that have ended, by their verdict.', 'result'),
  reuseport_reload_duration_seconds: histogram('From the beginning of a reload to its verdict.', SECONDS),
  reuseport_last_reload_timestamp_seconds: gauge('When the last verdict was given, in seconds since 1970.'),
  reuseport_last_reload_success: gauge('1: the last reload was done; 0: it was aborted, undone or stopped.'),
  reuseport_drain_duration_seconds: histogram(
    'From the order to drain to the end of the last connection of a worker.',
    SECONDS,
  ),
  reuseport_drain_moved_connections_total: counter('Connections of draining workers that went on in another worker.'),
  reuseport_drain_closed_connections_total: counter(
    'Connections of draining workers that ended with a last answer, by the client, or idle after the linger.',
  ),
  reuseport_drain_forced_connections_total: counter(
    'Connections that were cut, since they were open at the deadline of a drain.',
  ),
  reuseport_connections: gauge('Open connections.', 'slot'),
  reuseport_connections_accepted_total: counter('Connections that were accepted.', 'slot'),
  reuseport_http_responses_total: counter('HTTP answers.', 'slot'),
  reuseport_http_errors_total: counter('HTTP answers with a status of 500 or more.', 'slot'),
  reuseport_http_response_duration_seconds: histogram(
    'From the head of a request to the end of its answer.',
    ANSWERS,
    'slot',
  ),
  reuseport_accept_queue_length: gauge('Connections that wait to be accepted.', 'listener', 'slot'),
  reuseport_accept_queue_limit: gauge(
    'As many may wait, and one more; what comes then is dropped.',
    'listener',
    'slot',
  ),
  reuseport_udp_dropped_datagrams: gauge(
    'Datagrams for which this UDP socket had no room, since it was made.',
    'listener',
    'slot',
  ),
  reuseport_listen_drops_total: counter(
    'ListenDrops of the network namespace: connections that no queue took. Also those of others.',
  ),
  reuseport_listen_overflows_total: counter(
    'ListenOverflows of the network namespace: connections for which an accept queue was full. Also those of others.',
  ),
  reuseport_tcp_migrate_success_total: counter(
    'TCPMigrateReqSuccess of the network namespace (net.ipv4.tcp_migrate_req).',
  ),
  reuseport_tcp_migrate_failure_total: counter(
    'TCPMigrateReqFailure of the network namespace (net.ipv4.tcp_migrate_req).',
  ),
  reuseport_scrape_missing_workers: gauge(
    'Workers (threads that listen) whose own figures are not of now, since they did not answer in time.',
  ),
  process_cpu_seconds_total: counter('Processor time, user and system.', 'slot'),
  process_resident_memory_bytes: gauge('Memory in RAM.', 'slot'),
  process_open_fds: gauge('Open file descriptors.', 'slot'),
  process_start_time_seconds: gauge('Start of the process, in seconds since 1970.', 'slot'),
  nodejs_eventloop_lag_seconds: gauge('How long the event loop took to answer the launcher.', 'slot'),
  nodejs_eventloop_utilization: gauge(
    'Share of its time in which the event loop had something to do, since the last scrape.',
    'slot',
  ),
  nodejs_heap_size_used_bytes: gauge('JavaScript heap in use.', 'slot'),
}

/** Whether a family of the program's own metrics cannot have this name. */
export function isOurs(name: string): boolean {
  return Object.hasOwn(METRICS, name) || name.startsWith('reuseport_')
}
