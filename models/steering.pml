/*
 * Slots that come and go: which socket of a reuseport group gets a connection, and how a socket leaves its group. A socket's index is its place in
 * the group, and the last one moves into the hole that a close leaves; the program that chooses knows indexes only
 * (`src/launcher/brain/steering.ts`, `parking.ts`, `scale.ts`, and `cover` of `listeners.ts`).
 *
 * The brain's step is one atomic step, but for a close: that is three system calls, and connections come between any two of them.
 * A connection begins at a socket (`syn`), waits there when its handshake is over (`queue`), and is accepted.
 *
 *   SLOTS at the start, and their order of listen(2) is any. SCALES, DEATHS, CONNECTIONS: how many.
 *
 * S1  no socket ends with a connection in it, or with a handshake
 * S2  who is chosen by the program comes to a socket that is accepted from, or is about to be
 * S3  the brain knows the index of each socket, whenever it chooses
 * S4  at rest every connection was accepted, parked sockets are closed, and nothing is adopted
 *
 * Left out: strangers in a group (a look finds them, and nothing is closed then), UDP, a canary's share (no socket leaves a group then), a
 * kernel that takes no program (nothing leaves then). That the time of `--park` is longer than a handshake is assumed.
 */
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef SCALES
#define SCALES 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef CONNECTIONS
#define CONNECTIONS 2
#endif
#define NOBODY 15
#define EACH(i) i = 0; do :: i < SLOTS
#define NEXT(i) i++ :: else -> break od

/* The kernel. `program`: bits of indexes; none: its hash chooses among all. */
byte group[SLOTS], size;
byte program; bool hasProgram;
byte syn[SLOTS], queue[SLOTS], connections = CONNECTIONS;

/* Workers, by slot: `own`: it accepts from its socket. `there`: its process lives, and has copies of all sockets that were not called in. */
bool own[SLOTS], there[SLOTS];
byte adopts[SLOTS];           /* by socket: the worker that has adopted it */

/* The brain (state.ts): slots there are; sockets in the order of listen(2). */
byte slots = SLOTS, order[SLOTS], length;
bool serves[SLOTS];
byte adopter[SLOTS];
#define NOT 0                 /* parked */
#define PARKED 1
#define LETTING_GO 2
#define LET_GO 3
byte parked[SLOTS];
bool slowly[SLOTS];             /* its timer runs for all of --park; else it is only to be looked at again */
#define CALM 0
#define LOOKS 1               /* a look is under way */
#define SEES_NONE 2           /* it is over: nothing, or something, is left */
#define SEES_SOME 3
byte look[SLOTS];
byte awaits[SLOTS];           /* bits of workers that have not said that their copy is closed */

byte scales = SCALES, deaths = DEATHS;
bool busy; byte closing = NOBODY;  /* it is in the middle of a close */

hidden byte i, j, k, best, found, rest;

#define BIT(set, n) (((set) >> (n)) & 1)

/* parking.ts leaveOrder(), and what the kernel does: the last one moves into the hole. */
#define FIND(list, count, what) k = 0; do :: k < count && list[k] != what -> k++ :: else -> break od
#define REMOVE(list, count, what) FIND(list, count, what); \
  if :: k < count -> count--; list[k] = list[count]; list[count] = 0 :: else fi
#define SHIFT(list, count, what) FIND(list, count, what); \
  do :: k + 1 < count -> list[k] = list[k + 1]; k++ :: else -> break od; \
  if :: k < count -> count--; list[count] = 0 :: else fi

/* steering.ts weightsOf(): bits of indexes, into `found`; 0: the hash. `leaving`: a slot, or NOBODY. */
inline weigh(leaving) {
  found = 0; best = 0;
  k = 0;
  do
  :: k < length ->
     if
     :: parked[order[k]] == NOT && order[k] != leaving ->
        best = best | (1 << k);
        if :: adopter[order[k]] == NOBODY -> found = found | (1 << k) :: else fi
     :: else
     fi;
     k++
  :: else -> break
  od;
  if :: found == 0 -> found = best :: else fi;
  if :: found == (1 << length) - 1 -> found = 0 :: else fi
}
inline attach(set) { program = set; hasProgram = (set != 0) }

/* listeners.ts cover(): a socket that its own worker does not accept from is adopted by the sibling that has adopted the fewest: here the first. */
inline cover() {
  rest = NOBODY;
  k = 0;
  do :: k < slots -> if :: serves[k] && rest == NOBODY -> rest = k :: else fi; k++ :: else -> break od;
  k = 0;
  do
  :: k < length -> j = order[k];
     if
     :: parked[j] >= LETTING_GO
     :: parked[j] < LETTING_GO && j < slots && serves[j] -> adopter[j] = NOBODY
     :: else -> if :: adopter[j] == NOBODY || !serves[adopter[j]] || adopter[j] >= slots -> adopter[j] = rest :: else fi
     fi;
     k++
  :: else -> break
  od
}
inline settle() {
  cover();
  weigh(NOBODY);
  attach(found);
  assert(length == size);
  k = 0; do :: k < length -> assert(order[k] == group[k]) /* S3 */; k++ :: else -> break od;
  k = 0
}
inline park(s) { parked[s] = PARKED; slowly[s] = true; look[s] = CALM }
inline parkAgain() {
  j = 0; do :: j < SLOTS -> if :: parked[j] != NOT -> parked[j] = PARKED; slowly[j] = true; look[j] = CALM; awaits[j] = 0 :: else fi; j++ :: else -> break od
}

/* One order each is in the channel; the next one of the kind takes its place. */
#define ACCEPTED(s) (own[s] || (adopts[s] != NOBODY && there[adopts[s]]))
#define WANTED(s) (ACCEPTED(s) || (adopter[s] != NOBODY && there[adopter[s]]))

#ifdef MUTANT_DOES_NOT_WAIT_FOR_HANDSHAKES
#define IS_OVER(s) true
#else
#define IS_OVER(s) (!slowly[s] || syn[s] == 0)
#endif

proctype Slot(byte s) {
  byte n;
  do
  /* Its connections. */
  :: atomic { syn[s] > 0 -> syn[s]--; queue[s]++ }
  :: atomic { queue[s] > 0 && ACCEPTED(s) -> queue[s]-- }
  /* Orders to workers: adopt, unadopt. */
  :: atomic { parked[s] < LETTING_GO && adopts[s] != adopter[s] && (adopter[s] == NOBODY || there[adopter[s]]) -> adopts[s] = adopter[s] }
  /* The worker of a slot that goes: drain, and its end. */
  :: atomic { s >= slots && own[s] -> own[s] = false }
  :: atomic { s >= slots && there[s] && !own[s] -> d_step { there[s] = false; serves[s] = false;
       EACH(i) -> awaits[i] = awaits[i] & (255 - (1 << s)); if :: adopts[i] == s -> adopts[i] = NOBODY :: else fi; NEXT(i) } }
  /* A worker dies, its siblings adopt, the next one of its slot serves. */
  :: atomic { !busy && deaths > 0 && s < slots && there[s] -> deaths--; d_step { own[s] = false; there[s] = false; serves[s] = false;
       EACH(i) -> awaits[i] = awaits[i] & (255 - (1 << s)); if :: adopts[i] == s -> adopts[i] = NOBODY :: else fi; NEXT(i);
       settle() } }
  :: atomic { !busy && s < slots && !there[s] -> d_step { there[s] = true; serves[s] = true; own[s] = true;
       /* A new slot's socket listens with this. */
       found = 0; k = 0; do :: k < length -> if :: order[k] == s -> found = 1 :: else fi; k++ :: else -> break od;
       if :: !found -> order[length] = s; length++; group[size] = s; size++ :: else fi;
       settle() } }
  /* It comes back while the one that leaves is still there: another process, with the same socket. */
  :: atomic { !busy && s < slots && there[s] && !serves[s] -> d_step { serves[s] = true; own[s] = true; settle() } }

  /* parkOver(): the time has passed. Handshakes that had begun before are over. */
  :: atomic { !busy && parked[s] == PARKED && look[s] == CALM && IS_OVER(s) -> slowly[s] = false; look[s] = LOOKS }
  /* Who looks sees what is there in one moment; what it has seen is heard of in another. */
  :: atomic { look[s] == LOOKS -> look[s] = (queue[s] > 0 || (parked[s] == LET_GO && (awaits[s] != 0 || (s >= slots && there[s]))) -> SEES_SOME : SEES_NONE) }
  :: atomic { !busy && look[s] == SEES_SOME && parked[s] != NOT -> d_step { look[s] = CALM; parked[s] = PARKED; awaits[s] = 0; settle() } }
  :: atomic { !busy && look[s] == SEES_NONE && parked[s] == PARKED -> d_step {                         /* letGo() */
       look[s] = CALM; parked[s] = LETTING_GO; adopter[s] = NOBODY;
       EACH(i) -> if :: there[i] -> awaits[s] = awaits[s] | (1 << i) :: else fi; NEXT(i) };
#ifdef MUTANT_CLOSES_WITHOUT_ANSWERS
       parked[s] = LET_GO; look[s] = SEES_NONE
#endif
     }
  /* A worker closes its copy, and says so. */
  :: atomic { parked[s] == LETTING_GO && awaits[s] != 0 ->
       if :: BIT(awaits[s], 0) -> n = 0 :: BIT(awaits[s], 1) -> n = 1 :: BIT(awaits[s], 2) -> n = 2
#if SLOTS > 3
          :: BIT(awaits[s], 3) -> n = 3
#endif
       fi;
       if :: adopts[s] == n -> adopts[s] = NOBODY :: else fi;
       if :: s == n -> own[s] = false :: else fi;
       awaits[s] = awaits[s] & (255 - (1 << n)); n = 0 }
  :: atomic { !busy && parked[s] == LETTING_GO && awaits[s] == 0 -> parked[s] = LET_GO;
#ifdef MUTANT_NO_SECOND_LOOK
       look[s] = SEES_NONE
#else
       look[s] = LOOKS
#endif
     }
  :: atomic { look[s] == SEES_NONE && parked[s] == LET_GO && !busy -> busy = true; look[s] = CALM; closing = s }
  od
}

/* parking.ts close(): the launcher does nothing else meanwhile. */
proctype Close() {
  do
  :: atomic { busy -> d_step {
       parked[closing] = NOT;
#ifndef MUTANT_DOES_NOT_NARROW
       /* narrow(): indexes that mean the same before and after. */
       weigh(closing);
       if :: found == 0 -> found = (1 << length) - 1 :: else fi;
       rest = found & ((1 << (length - 1)) - 1);
       if :: rest != 0 -> attach(rest) :: else -> attach(found) fi;
#ifndef MUTANT_PARKS_NOBODY_AGAIN
       if :: rest == 0 -> parkAgain() :: else fi
#endif
#endif
     } };
     d_step {
       /* close(2): it leaves its group if nobody else has a copy. */
       if
       :: awaits[closing] == 0 && !(closing >= slots && there[closing]) ->
          assert(syn[closing] == 0 && queue[closing] == 0);                                  /* S1 */
          REMOVE(group, size, closing)
       :: else
       fi;
#ifdef MUTANT_SHIFTS
       SHIFT(order, length, closing)
#else
       REMOVE(order, length, closing)
#endif
     };
     atomic { d_step { adopter[closing] = NOBODY; adopts[closing] = NOBODY; closing = NOBODY; settle() }; busy = false }
  od
}

proctype Operator() {
  byte to;
  do
  :: atomic { scales > 0 && !busy -> scales--;
       if :: to = 1 :: to = 2 :: to = 3
#if SLOTS > 3
          :: to = 4
#endif
       fi;
       d_step {
         /* isScalable(): while a worker that stays is well. */
         found = 0; i = 0; do :: i < to -> if :: i < slots && serves[i] && own[i] -> found = 1 :: else fi; i++ :: else -> break od;
         if
         :: found ->
            i = slots;
            do :: i < to -> parked[i] = NOT; look[i] = CALM; awaits[i] = 0; slowly[i] = false; i++ :: else -> break od;
            i = to;
            do
            :: i < slots ->
#ifdef MUTANT_CLOSES_AT_ONCE
               parked[i] = LET_GO; look[i] = SEES_NONE; own[i] = false; there[i] = false;
#else
               /* Its socket is there once it has listened. */
               found = 0; k = 0; do :: k < length -> if :: order[k] == i -> found = 1 :: else fi; k++ :: else -> break od;
               if :: found -> park(i) :: else fi;
#endif
               serves[i] = false; i++
            :: else -> break
            od;
            slots = to;
            settle()
         :: else
         fi
       };
       to = 0 }
  od
}

#if SLOTS > 3
#define SOMEBODY_SERVES (serves[0] || serves[1] || serves[2] || serves[3])
#else
#define SOMEBODY_SERVES (serves[0] || serves[1] || serves[2])
#endif

/* Where a connection begins. An index that there is not: the kernel's hash chooses among all. */
proctype Clients() {
  byte at;
  do
  :: atomic { connections > 0 -> connections--;
       at = 0;
       do
       :: at < (hasProgram -> SLOTS : size) - 1 -> at++
       :: !hasProgram || BIT(program, at) -> break
       od;
       if
       :: hasProgram && at < size -> assert(WANTED(group[at]) || !SOMEBODY_SERVES)                                /* S2 */
       :: else
       fi;
       if
       :: at >= size -> at = 0; do :: at < size - 1 -> at++ :: break od
       :: else
       fi;
       syn[group[at]]++; at = 0 }
  od
}

proctype Monitor() {
  timeout -> d_step {                                                                        /* S4 */
    assert(size == slots && !busy);
    EACH(i) -> assert(syn[i] == 0 && queue[i] == 0 && parked[i] == NOT && adopter[i] == NOBODY && adopts[i] == NOBODY); NEXT(i)
  }
}

init {
  atomic {
    EACH(i) -> own[i] = true; there[i] = true; serves[i] = true; adopts[i] = NOBODY; adopter[i] = NOBODY; NEXT(i);
    /* Any order. */
    do
    :: size < SLOTS ->
       if :: !BIT(program, 0) -> j = 0 :: !BIT(program, 1) -> j = 1 :: !BIT(program, 2) -> j = 2
#if SLOTS > 3
          :: !BIT(program, 3) -> j = 3
#endif
       fi;
       program = program | (1 << j); group[size] = j; order[size] = j; size++
    :: else -> break
    od;
    length = size; program = 0;
    i = 0; do :: i < SLOTS -> run Slot(i); i++ :: else -> break od;
    run Close(); run Operator(); run Clients(); run Monitor()
  }
}
