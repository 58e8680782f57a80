// What the pieces of the handover campaign do, and the page says.

/** In each piece under load. */
export const HANDOVERS = 25
/** Each of the two processes is killed so often at each step. */
export const ROUNDS = 3
/** In each piece. */
export const RACES = 100
/** By the words of `verify --clients`. */
export const CLIENTS = {
  ...{ new: 4, busy: 10, think: 20, pause: 200, idle: 200, pipelining: 4, 'slow-head': 4 },
  ...{ 'https-new': 2, https: 10 },
}
/** That ask over the path, and as many that speak lines of text. */
export const OWN_CLIENTS = 10
/** Of UDP: so many, at the first of these rates (datagrams a second) that loses nothing while as many processes as `STARTS` begin. */
export const DATAGRAM_HANDOVERS = 100
export const DATAGRAM_RATES = [50_000, 40_000, 30_000, 20_000, 10_000, 5_000]
export const STARTS = 25
/** Of each socket, as far as net.core.rmem_max lets it. */
export const BUFFER_BYTES = 4_000_000
