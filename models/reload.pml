/*
 * A reload, and what may come in between: bad versions, deaths of workers, slow workers, a stop, and the death of the launcher with the next
 * one's adoption. `src/launcher/brain` as it is: one event is one atomic step, the event is noted first, then the standing rules are settled
 * (step.ts). What the brain sees of a worker (bs) and what the worker does (ws) are two things; between them are its orders, which it reads in
 * order, and its answers.
 *
 *   SLOTS 2. GENS: generations, so one reload less.  ROLLING: --strategy rolling, one slot at a time; else 'all'.
 *   KILLS, CRASHES, LATES: how often the launcher is killed, a worker is killed, an order is not answered within its 2 s.
 *   STOPS: whether a stop may be ordered.  KINDS: how bad the versions may be, see `kind`.
 *
 * I1  each slot's socket has a holder at every instant, though the launcher and a worker are killed together
 * I2  where no worker is killed or dies by itself, each slot has somebody who accepts, or has the order to; strictly, where nothing is undone and the
 *     launcher lives; and whoever has died, nobody who accepts is sent away before another one accepts, or has the order to
 * I3  a generation of which a failure was noticed is never the working one again; nothing is kept for want of an old one unless one has
 *     died or is too slow
 * I4  at rest all other generations have ended
 * I5  at rest the working generation is whole and serves, nothing is adopted, nothing waits
 * I6  at a stop a socket is closed by who accepts from it only when nobody else has a copy
 * I7  at rest everybody was told the last term of his slot: the next launcher would find what this one knows
 * I8  every caller gets exactly one verdict
 * I9  a stop ends
 *
 * Otherwise than in the code: a worker of a slot and generation is started when the one before it has ended, not when it drains; a worker that is told
 * to end (drained, at a deadline, killed) has ended; all workers come to a new launcher, and it is not killed in a stop. Left out: health checks before
 * a worker is ready, --surge, canaries, spares, reliefs, hangs, scales (steering.pml).
 */
#define SLOTS 2
#ifndef GENS
#define GENS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LATES
#define LATES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef DEATHS
#define DEATHS 1   /* of those of kind 4 */
#endif
#ifndef KINDS
#define KINDS 4
#endif
#define CELLS (GENS * SLOTS)
#define CELL(g, s) ((g) * SLOTS + (s))
#define NOBODY 255

/* A worker as it is. One that was told to end and one that has ended are the same: DEAD, until the brain has heard of it. */
#define NONE 0
#define BOOT 1     /* no socket yet: not before its first claim */
#define HELD 2     /* it has its socket and spare copies, and accepts nothing */
#define SERVING 3
#define PAUSED 4
#define DRAINING 5 /* its live sockets are closed */
#define DEAD 6
/* As the brain sees it (state.ts): 'spawned' and 'claimed' are one. */
#define READY 2
#define STOPPING 6

/* Orders. TERM + t is the term t. An answer to one whose time has passed settles nothing: LATE is added. */
#define ADMIT 1
#define PAUSE 2
#define RESUME 3
#define DRAIN 4
#define ADOPT 5    /* with two slots: the other's */
#define UNADOPT 6
#define DROP 7     /* `spares`, in a stop */
#define LAST 8     /* `drain` with last: accept the rest, close */
#define TERM 16
#define LATE 64
#define ORDERS 8

byte ws[CELLS], bs[CELLS];
bool spare[CELLS];            /* it has copies of all sockets */
bool adopts[CELLS];           /* it accepts from the other slot's socket */
byte told[CELLS];             /* the last term that it was told */
byte orders[CELLS * ORDERS];  /* in its channel, and those that it has done and the brain has not heard of */
byte done[CELLS];             /* how many of them it has done */
bool stuck[CELLS], failed[CELLS];
/* Of a generation. 0: good. 1: exits at boot. 2: is never ready. 3: its check fails in the bake. 4: dies when it serves. */
byte kind[GENS];
byte named[16];               /* the generation that a term names; of terms that were told, so it is not lost with the launcher */

bool up = true, copies = true;  /* the launcher; its copies of all sockets */
byte term, working[SLOTS], wterm[SLOTS], adopter[SLOTS];
#define CALM 0
#define START 1
#define ADMITTING 2
#define HANDOVER 3
#define BAKE 4
#define RETIRE 5
byte stage, from, to, batch, rest;   /* `batch` and `rest`: a bit for each slot */
bool committed, undo, deferred, kept;
byte top;                     /* the last generation that was begun */
byte stopping;                /* 1: spares are called in. 2: workers drain. 3: over */
byte callers, waiting, answered, asked;
byte kills = KILLS, crashes = CRASHES, lates = LATES, stops = STOPS, deaths = DEATHS;
bool died;
bool bad[GENS];               /* a failure of it was noticed, and it was not kept */

byte effects;
bool dying, fails;
hidden byte i, j, k, g, s, x, best, sum;
hidden byte any, all, sent, served;
byte leaves, accepts;  /* a bit for each worker: it is told to drain at the end of this step; it accepted until then */
hidden byte fresh[SLOTS];
byte stopgaps;                /* given up, but they accept until somebody of the working generation does */

#define GEN(w) ((w) / SLOTS)
#define SLOT(w) ((w) % SLOTS)
#define OTHER(w) (1 - SLOT(w))
#define IN(set, s) (((set) >> (s)) & 1)
#define ALIVE(w) (ws[w] > NONE && ws[w] < DEAD)
#define O(w, n) orders[(w) * ORDERS + (n)]
#define AWAITS(w, o) (O(w,0)==o || O(w,1)==o || O(w,2)==o || O(w,3)==o || O(w,4)==o || O(w,5)==o || O(w,6)==o || O(w,7)==o)
#define IS_TERM(o) ((o) >= TERM && (o) < LATE)
#define AWAITS_TERM(w) (IS_TERM(O(w,0)) || IS_TERM(O(w,1)) || IS_TERM(O(w,2)) || IS_TERM(O(w,3)) || IS_TERM(O(w,4)) || IS_TERM(O(w,5)) || IS_TERM(O(w,6)) || IS_TERM(O(w,7)))
/* draft.ts: of(), members: its process lives, or its end has not been heard of. */
#define THERE(w) (bs[w] != NONE)
#define MEMBER(w) (THERE(w) && working[SLOT(w)] == GEN(w))
#define MAY_ACCEPT(w) (bs[w] == SERVING || bs[w] == PAUSED || bs[w] == DRAINING || AWAITS(w, ADMIT))
#define CAN_SERVE(w) ((bs[w] == SERVING || bs[w] == PAUSED) && !stuck[w])
#define MIGHT_ACCEPT(w) (bs[w] == SERVING || AWAITS(w, PAUSE))

/* --- effects: those of one step are done in order; the launcher may be killed between two of them (`effects`: how many more are done) --- */

inline effect() {
  if
  :: effects == 255 -> sent = true
  :: effects == 0 -> sent = false
  :: else -> effects--; sent = true
  fi
}
inline order(w, what) {
  effect();
  if
  :: sent -> k = 0;
     do :: k < ORDERS && O(w, k) != 0 -> k++ :: else -> break od;
     assert(k < ORDERS);
     O(w, k) = what
  :: else
  fi
}
inline spawn(w) {
  effect();
  bs[w] = BOOT; failed[w] = false; stuck[w] = false;
  if :: sent -> ws[w] = BOOT :: else fi
}
/* draft.ts kill(): SIGKILL at once. */
inline kill(w) {
  bs[w] = STOPPING;
  effect();
  if :: sent && ALIVE(w) -> ws[w] = DEAD :: else fi
}
/* lanes.ts leave(), draft.ts drain(). The stop signal that follows 'drained', and SIGKILL at the deadlines, are the end of DRAINING. */
inline leave(w) {
  accepts = accepts | (bs[w] == SERVING && !stuck[w] -> 1 << (w) : 0);
  bs[w] = DRAINING;
#ifdef MUTANT_DRAINS_BEFORE_ANOTHER_IS_TOLD
  order(w, DRAIN)
#else
  leaves = leaves | (1 << (w))
#endif
}
/* listeners.ts forgetAdoptions() */
inline forget(w) {
  if :: adopter[0] == w -> adopter[0] = NOBODY :: else fi;
  if :: adopter[1] == w -> adopter[1] = NOBODY :: else fi
}
/* Dead, and whatever was in its channel with it. */
inline wipe(w) {
  k = 0; do :: k < ORDERS -> O(w, k) = 0; k++ :: else -> break od;
  done[w] = 0
}
inline settleEarlier(w, what, before) {
  k = 0; do :: k < before -> if :: O(w, k) == what -> O(w, k) = what + LATE :: else fi; k++ :: else -> break od
}

/* --- working.ts ------------------------------------------------------------------------------------------------------------------------- */

inline tellTerm(set) {
  j = 0;
  do
  :: j < CELLS ->
     if :: IN(set, SLOT(j)) && (bs[j] == SERVING || bs[j] == PAUSED || bs[j] == DRAINING) -> order(j, TERM + wterm[SLOT(j)]) :: else fi;
     j++
  :: else -> break
  od
}
inline makeWorking(number, set) {
  term++;
  assert(term < 16);
  named[term] = number;
  if :: IN(set, 0) -> working[0] = number; wterm[0] = term :: else fi;
  if :: IN(set, 1) -> working[1] = number; wterm[1] = term :: else fi;
#ifdef MUTANT_UNDO_IS_NOT_TOLD
  if :: !undo -> tellTerm(set) :: else fi
#else
  tellTerm(set)
#endif
}

/* --- listeners.ts: isResuming() ------------------------------------------------------------------------------------------------------------ */

/* The last of the orders to pause and to resume, if it is awaited. */
inline isResuming(w) {
  any = false;
  if
  :: (bs[w] == SERVING || bs[w] == PAUSED) && !stuck[w] ->
     k = 0;
     do
     :: k < ORDERS -> if :: O(w, k) == RESUME -> any = true :: O(w, k) == PAUSE -> any = false :: else fi; k++
     :: else -> break
     od
  :: else
  fi
}

/* --- bake.ts ---------------------------------------------------------------------------------------------------------------------------- */

inline isServed() {
  served = false;
  j = 0;
  do
  :: j < CELLS ->
     if
     :: MEMBER(j) -> isResuming(j); served = served || any || (bs[j] == SERVING && !stuck[j])
     :: else
     fi;
     j++
  :: else -> break
  od
}
inline giveUpOne(w) {
  if
  :: bs[w] == NONE || bs[w] == STOPPING || bs[w] == DRAINING
  :: else ->
     isServed();
     if
#ifndef MUTANT_GIVES_UP_THE_LAST
     :: stopping == 0 && bs[w] == SERVING && !stuck[w] && !served -> stopgaps = stopgaps | (1 << (w))
     :: !(stopping == 0 && bs[w] == SERVING && !stuck[w] && !served) ->
#else
     :: true ->
#endif
        forget(w);
        if
        :: !MAY_ACCEPT(w) -> kill(w)
        :: else -> if :: stopping == 0 -> leave(w) :: else fi
        fi
     fi
  fi
}
inline settleStopgaps() {
  if
  :: stopgaps != 0 && stopping == 0 ->
     isServed();
     i = 0;
     do
     :: i < CELLS -> if :: served && IN(stopgaps, i) && bs[i] == SERVING -> stopgaps = stopgaps & (255 - (1 << i)); giveUpOne(i) :: else fi; i++
     :: else -> break
     od
  :: else
  fi
}
inline giveUp(number, except) {
  i = 0;
  do :: i < SLOTS -> if :: IN(except, i) :: else -> giveUpOne(CELL(number, i)) fi; i++ :: else -> break od
}
inline resumeOld() {
#ifndef MUTANT_ABORT_WITHOUT_RESUME
  i = 0;
  do
  :: i < SLOTS -> x = CELL(from, i);
     if :: bs[x] == PAUSED || AWAITS(x, PAUSE) -> order(x, RESUME) :: else fi;
     i++
  :: else -> break
  od
#else
  skip
#endif
}
/* verdict.ts answer(): who waits hears it. */
inline verdict() { answered = answered + callers; callers = 0 }

inline fail() {
  if
  :: stage == CALM || undo || kept
  :: else ->
     sum = (working[0] == to -> 1 : 0) + (working[1] == to -> 2 : 0);
#ifdef MUTANT_DROPS_THE_OLD
     /* As PM2 7 does it: the new one stays, whatever it is. */
     if
     :: sum == 0 -> makeWorking(to, 3); verdict(); stage = CALM;
        i = 0; do :: i < SLOTS -> if :: bs[CELL(from, i)] == SERVING || bs[CELL(from, i)] == PAUSED -> leave(CELL(from, i)) :: else fi; i++ :: else -> break od
     :: else
     fi;
#endif
     if
     :: stage == CALM
     :: stage != CALM && sum == 0 ->                               /* abort() */
        bad[to] = !dying; verdict(); stage = CALM;
        resumeOld(); giveUp(to, 0)
     :: stage != CALM && sum != 0 ->
        any = CAN_SERVE(CELL(from, 0)) || CAN_SERVE(CELL(from, 1));
        if
        :: any ->                                                /* undo() */
           bad[to] = !dying; undo = true;
           resumeOld();
           makeWorking(from, sum);
           /* Where no old worker comes back the new one accepts until a sibling of the old ones can. */
           if :: IN(sum, 0) && !CAN_SERVE(CELL(from, 0)) -> best = 1 :: else -> best = 0 fi;
           if :: IN(sum, 1) && !CAN_SERVE(CELL(from, 1)) -> best = best | 2 :: else fi;
           giveUp(to, best)
        :: !any && sum != 3 ->                                   /* defer() */
           if
           :: deferred
           :: else -> deferred = true;
              i = 0;
              do :: i < SLOTS -> if :: !IN(sum, i) -> giveUpOne(CELL(to, i)) :: else fi; i++ :: else -> break od
           fi
        :: else -> kept = true; assert(died || lates < LATES || kind[to] == 4)                   /* I3 */
        fi
     fi
  fi
}

/* --- reload.ts -------------------------------------------------------------------------------------------------------------------------- */

inline beginBatch() {
  stage = START; committed = false;
  i = 0;
  do :: i < SLOTS -> if :: IN(batch, i) -> spawn(CELL(to, i)) :: else fi; i++ :: else -> break od
}
#define EACH(g, set, is) ((!IN(set, 0) || bs[CELL(g, 0)] == is) && (!IN(set, 1) || bs[CELL(g, 1)] == is))
#define SOME(g, set) ((IN(set, 0) && THERE(CELL(g, 0))) || (IN(set, 1) && THERE(CELL(g, 1))))

inline pauseOld() {
  i = 0;
  do
  :: i < SLOTS -> x = CELL(from, i);
     if
     :: !IN(batch, i)
     :: IN(batch, i) && (bs[x] == SERVING || AWAITS(x, ADMIT) || AWAITS(x, RESUME)) -> forget(x); order(x, PAUSE)
     :: IN(batch, i) && !(bs[x] == SERVING || AWAITS(x, ADMIT) || AWAITS(x, RESUME)) && (bs[x] == BOOT || bs[x] == READY) -> kill(x)
     :: else
     fi;
     i++
  :: else -> break
  od
}
inline retire() {
  stage = RETIRE;
  i = 0;
  do :: i < SLOTS -> if :: IN(batch, i) && bs[CELL(from, i)] == PAUSED -> leave(CELL(from, i)) :: else fi; i++ :: else -> break od;
  if :: rest == 0 -> stage = CALM; verdict() :: else fi
}
/* Each look takes the reload as far as it can go, as the ifs of advance() do. */
inline settleReload() {
  if
  :: stage != CALM && undo ->                                      /* settleUndo() */
     any = (AWAITS(CELL(from, 0), RESUME) && !stuck[CELL(from, 0)]) || (AWAITS(CELL(from, 1), RESUME) && !stuck[CELL(from, 1)]);
     if :: any :: else -> giveUp(to, 0); stage = CALM; verdict() fi
  :: stage == RETIRE && !undo && !deferred ->                      /* nextBatch() */
     if
     :: SOME(from, batch) || SOME(to, rest)                      /* the second: a cell has one worker */
     :: else -> batch = rest & (rest == 3 -> 1 : 3); rest = rest - batch; beginBatch()
     fi
  :: stage == HANDOVER && !undo && !deferred && committed ->       /* finishHandover() */
     any = (THERE(CELL(to, 0)) && AWAITS_TERM(CELL(to, 0))) || (THERE(CELL(to, 1)) && AWAITS_TERM(CELL(to, 1)));
#ifndef MUTANT_BAKES_BEFORE_ALL_HAVE_PAUSED
     /* After an adoption: who pauses later would stay paused. */
     any = any || (IN(batch, 0) && THERE(CELL(from, 0)) && AWAITS(CELL(from, 0), PAUSE)) || (IN(batch, 1) && THERE(CELL(from, 1)) && AWAITS(CELL(from, 1), PAUSE));
#endif
     if :: any :: else -> stage = BAKE;
#ifdef MUTANT_RETIRES_BEFORE_THE_BAKE
        i = 0; do :: i < SLOTS -> if :: bs[CELL(from, i)] == PAUSED -> leave(CELL(from, i)) :: else fi; i++ :: else -> break od
#endif
     fi
  :: else
  fi;
  if
  :: stage != CALM && stage <= HANDOVER && !undo && !deferred && !committed ->      /* advance() */
     if
     :: stage == START && EACH(to, batch, READY) ->
        stage = ADMITTING;
#ifdef MUTANT_PAUSES_BEFORE_ALL_SERVE
        pauseOld();
#endif
        i = 0; do :: i < SLOTS -> if :: IN(batch, i) -> order(CELL(to, i), ADMIT) :: else fi; i++ :: else -> break od
     :: else
     fi;
     if :: stage == ADMITTING && EACH(to, batch, SERVING) -> stage = HANDOVER;
#ifndef MUTANT_PAUSES_BEFORE_ALL_SERVE
        pauseOld()
#endif
     :: else
     fi;
     if
     :: stage == HANDOVER ->
        any = (IN(batch, 0) && MIGHT_ACCEPT(CELL(from, 0))) || (IN(batch, 1) && MIGHT_ACCEPT(CELL(from, 1)));
        if :: any :: else -> committed = true; assert(kind[to] != 1 && kind[to] != 2) /* I3 */; makeWorking(to, batch) fi
     :: else
     fi
  :: else
  fi
}

/* --- endings.ts: settleSlots() ---------------------------------------------------------------------------------------------------------- */

#define SETTLED(s) (stopping == 0 && (stage == CALM || (!undo && (stage == HANDOVER && !committed && !deferred -> !IN(batch, s) : (working[s] != to || kept)))))

inline settleSlots() {
  if
  :: stopping == 0 ->
     if
     :: stage == CALM ->                                           /* replaceStuck() */
        any = false;
        i = 0; do :: i < CELLS -> any = any || (MEMBER(i) && bs[i] == SERVING && !stuck[i]); i++ :: else -> break od;
        all = any;
        i = 0;
        do
        :: i < CELLS -> if :: all && MEMBER(i) && bs[i] == PAUSED && stuck[i] && AWAITS(i, RESUME) -> leave(i) :: else fi; i++
        :: else -> break
        od
     :: else
     fi;
     i = 0;
     do
     :: i < SLOTS -> x = CELL(working[i], i);
        /* One that drains leaves its slot at once in the brain; here a cell has one worker, and the next one comes after it. */
        if :: SETTLED(i) && bs[x] == NONE -> spawn(x) :: else fi;
        if :: SETTLED(i) && bs[x] == READY && !AWAITS(x, ADMIT) -> order(x, ADMIT) :: else fi;
        i++
     :: else -> break
     od
  :: else
  fi
}

/* --- listeners.ts: cover() -------------------------------------------------------------------------------------------------------------- */

inline cover() {
  if
  :: stopping == 0 ->
     /* Bits of slots: members that are awake, that serve, and new ones in the middle of a handover, or of one that was undone. */
     s = 0; g = 0; best = 0;
     i = 0;
     do
     :: i < SLOTS -> x = CELL(working[i], i);
        isResuming(x);
        if :: bs[x] == SERVING && !AWAITS(x, PAUSE) -> g = g | (1 << i); if :: !stuck[x] -> any = true :: else fi :: else fi;
        if :: any -> s = s | (1 << i) :: else fi;
        if :: stage == HANDOVER && !committed && IN(batch, i) && bs[CELL(to, i)] == SERVING && !stuck[CELL(to, i)] -> best = best | (1 << i); fresh[i] = CELL(to, i) :: else fi;
        k = 0;
        do
        :: k < CELLS -> if :: SLOT(k) == i && IN(stopgaps, k) && bs[k] == SERVING && !stuck[k] && !IN(best, i) -> best = best | (1 << i); fresh[i] = k :: else fi; k++
        :: else -> break
        od;
        i++
     :: else -> break
     od;
     all = (s != 0);
     sum = (s != 0 -> s : (g != 0 -> g : best));
     i = 0;
     do
     :: i < SLOTS ->
        /* x: who has adopted this socket. k: the worker of the other slot, if it may. */
        x = adopter[i];
        any = (x != NOBODY && (bs[x] == SERVING || bs[x] == PAUSED));
        if
        :: stage == HANDOVER && !committed && IN(batch, i)
        :: !(stage == HANDOVER && !committed && IN(batch, i)) && IN(sum, i) && (all || x == NOBODY || !IN(sum, SLOT(x))) ->
           if :: any -> order(x, UNADOPT) :: else fi;
           adopter[i] = NOBODY
        :: !(stage == HANDOVER && !committed && IN(batch, i)) && !IN(sum, i) && IN(sum, 1 - i) ->
           j = (s == 0 && g == 0 -> fresh[1 - i] : CELL(working[1 - i], 1 - i));
           if
           :: x != j -> if :: any -> order(x, UNADOPT) :: else fi; adopter[i] = j; order(j, ADOPT)
           :: else
           fi
        :: else
        fi;
        i++
     :: else -> break
     od
  :: else
  fi
}

/* --- stop.ts ---------------------------------------------------------------------------------------------------------------------------- */

inline beginStop() {
  stopping = 1;
  answered = answered + waiting; waiting = 0;
#ifndef MUTANT_STOP_LEAVES_THE_RELOAD
  if :: stage != CALM -> verdict(); stage = CALM; giveUp(to, 0) :: else fi;
#endif
  i = 0; do :: i < CELLS -> if :: THERE(i) && bs[i] != STOPPING && !MAY_ACCEPT(i) -> kill(i) :: else fi; i++ :: else -> break od;
  copies = false;
  /* listeners.ts spread(): to everybody who speaks to us. */
  i = 0; do :: i < CELLS -> if :: bs[i] > BOOT && bs[i] < STOPPING -> order(i, DROP) :: else fi; i++ :: else -> break od
}
inline settleStop() {
  if
  :: stopping == 1 ->
     all = true;
     i = 0; do :: i < CELLS -> all = all && !AWAITS(i, DROP); i++ :: else -> break od;
#ifdef MUTANT_STOP_DRAINS_AT_ONCE
     all = true;
#endif
     if
     :: all -> stopping = 2;
        i = 0; do :: i < CELLS -> if :: THERE(i) && bs[i] < DRAINING -> bs[i] = DRAINING; order(i, LAST) :: else fi; i++ :: else -> break od
     :: else
     fi
  :: else
  fi;
  if
  :: stopping == 2 ->
     all = true;
     i = 0; do :: i < CELLS -> all = all && !THERE(i); i++ :: else -> break od;
     if :: all -> stopping = 3 :: else fi
  :: else
  fi
}

/* --- reload.ts startWaiting() ------------------------------------------------------------------------------------------------------------ */

inline startWaiting() {
  if
  :: stopping == 0 && stage == CALM && waiting > 0 && top < GENS - 1 ->
     /* `state.working`: the generation that was last the working one of every slot. */
     from = (working[0] < working[1] -> working[0] : working[1]);
     top++; to = top; callers = waiting; waiting = 0;
     undo = false; deferred = false; kept = false;
#ifdef ROLLING
     batch = 1; rest = 2;
#else
     batch = 3; rest = 0;
#endif
     beginBatch()
  :: else
  fi
}

/* Draft: what takes an acceptor away is the last of a step's effects. */
#define IS_AWAKE(w) (bs[w] == SERVING && !stuck[w])
inline sendAway() {
  i = 0; do :: i < CELLS -> if :: IN(leaves, i) -> order(i, DRAIN) :: else fi; i++ :: else -> break od;
  if
  :: accepts != 0 && stopping == 0 ->
     served = false;
     i = 0; do :: i < CELLS -> isResuming(i); served = served || any || IS_AWAKE(i); i++ :: else -> break od;
     assert(served)                                                                                        /* I2 */
  :: else
  fi;
  leaves = 0; accepts = 0
}
/* The rules in the order of step.ts. */
inline settle() {
  if :: fails || (stage != CALM && deferred && !undo) -> fail() :: else fi;
  fails = false;
  settleReload();
  startWaiting();
  settleSlots();
  cover();
  settleStopgaps();
  settleStop();
  sendAway();
  /* What is not so can be told in one way only: states that differ in nothing else are one. */
  if :: stage == CALM -> batch = 0; rest = 0; committed = false; undo = false; deferred = false; kept = false; from = 0; to = 0 :: else fi
}

/* --- adopt.ts --------------------------------------------------------------------------------------------------------------------------- */

/* What a killed launcher knew is gone; what it has sent is in the channels. */
inline die() {
  up = false; copies = false; stopgaps = 0;
  asked = asked - (asked - answered);
  callers = 0; waiting = 0;
  stage = CALM; batch = 0; rest = 0; committed = false; undo = false; deferred = false; kept = false; from = 0; to = 0;
  working[0] = 0; working[1] = 0; wterm[0] = 0; wterm[1] = 0; term = 0; adopter[0] = NOBODY; adopter[1] = NOBODY;
  i = 0;
  do
  :: i < CELLS -> bs[i] = NONE; stuck[i] = false; failed[i] = false;
#ifdef MUTANT_WORKERS_DIE_TOO
     if :: ALIVE(i) -> ws[i] = DEAD :: else fi;
#endif
     if
     :: ws[i] == DEAD -> ws[i] = NONE; wipe(i); spare[i] = false; adopts[i] = false; told[i] = 0
     :: ws[i] == BOOT -> ws[i] = NONE                            /* adoption.ts: a process that was only being started is killed */
     :: else
     fi;
     i++
  :: else -> break
  od
}
/* A worker comes when it has read what the dead one had sent: all that live have, before the first decision (adoption.ts allCome()). */
#define HAS_COME(w) (!ALIVE(w) || O(w, done[w]) == 0)

#if GENS > 2
#define ALL_HAVE_COME (HAS_COME(0) && HAS_COME(1) && HAS_COME(2) && HAS_COME(3) && HAS_COME(4) && HAS_COME(5))
#else
#define ALL_HAVE_COME (HAS_COME(0) && HAS_COME(1) && HAS_COME(2) && HAS_COME(3))
#endif

inline adoptAll() {
  up = true; copies = true;
  i = 0;
  do
  :: i < CELLS -> wipe(i);
     if :: ws[i] == DEAD -> ws[i] = NONE; spare[i] = false; adopts[i] = false; told[i] = 0 :: else fi;
     bs[i] = (ws[i] == HELD -> BOOT : ws[i]);
     if :: told[i] > term -> term = told[i] :: else fi;
     i++
  :: else -> break
  od;
  /* newestOf(): the generation with the last word. It is in `g` from here on. */
  g = named[term];
#ifdef MUTANT_ADOPTS_THE_HIGHEST_GENERATION
  i = 0; do :: i < CELLS -> if :: bs[i] == SERVING || bs[i] == PAUSED -> g = (GEN(i) > g -> GEN(i) : g) :: else fi; i++ :: else -> break od;
#endif
  /* holdAdopted() */
  i = 0;
  do
  :: i < CELLS ->
     if
     :: adopts[i] -> if :: bs[i] == SERVING && adopter[OTHER(i)] == NOBODY -> adopter[OTHER(i)] = i :: else -> order(i, UNADOPT) fi
     :: else
     fi;
     i++
  :: else -> break
  od;
  /* settleWord(), wordOf(): the highest term that anybody in this slot was told; nobody's: that of the others. */
  s = g;
  i = 0;
  do
  :: i < SLOTS -> x = 0;
     j = 0;
     do
     :: j < CELLS ->
        if :: SLOT(j) == i && THERE(j) && told[j] > x && (bs[j] != DRAINING || GEN(j) != named[told[j]]) -> x = told[j] :: else fi;
        j++
     :: else -> break
     od;
     wterm[i] = x;
     if :: x > 0 && named[x] < s -> s = named[x] :: else fi;
     i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < SLOTS -> if :: wterm[i] > 0 -> working[i] = named[wterm[i]] :: else -> working[i] = s; wterm[i] = term fi; i++
  :: else -> break
  od;
#ifdef MUTANT_ADOPTS_THE_HIGHEST_GENERATION
  working[0] = g; working[1] = g;
#endif
  tellTerm(3);
  /* decide(): `best` is the other generation that is in service, or was begun. Nobody knows how far held ones had come. */
  best = NOBODY;
  i = 0;
  do
  :: i < CELLS ->
     if
     :: GEN(i) != g && (bs[i] == SERVING || bs[i] == PAUSED || (bs[i] == BOOT && GEN(i) > g)) -> best = (best == NOBODY || GEN(i) > best -> GEN(i) : best)
     :: else
     fi;
     i++
  :: else -> break
  od;
  if :: working[0] != g -> best = (best == NOBODY || working[0] > best -> working[0] : best) :: else fi;
  if :: working[1] != g -> best = (best == NOBODY || working[1] > best -> working[1] : best) :: else fi;
  i = 0; do :: i < CELLS -> if :: bs[i] == BOOT -> kill(i) :: else fi; i++ :: else -> break od;
  if
  :: best == NOBODY ->
     i = 0; do :: i < CELLS -> if :: bs[i] == PAUSED -> order(i, RESUME) :: else fi; i++ :: else -> break od
  :: else ->
     from = (best < g -> best : g); to = (best < g -> g : best);
     if :: to > top -> top = to :: else fi;
     undo = false; deferred = false; kept = false;
     /* adoptedRun() */
     sum = (working[0] == to -> 1 : 0) + (working[1] == to -> 2 : 0);
     stage = HANDOVER; committed = (sum != 0);
     batch = (committed -> sum : 3); rest = (committed -> 3 - sum : 0);
     all = (best < g);
     i = 0;
     do
     :: i < CELLS ->
        if
        :: bs[i] != SERVING && bs[i] != PAUSED
        :: else ->
           if
           :: GEN(i) != from && GEN(i) != to -> leave(i)
           :: (GEN(i) == from || GEN(i) == to) && all && MEMBER(i) && bs[i] == PAUSED -> order(i, RESUME)
           :: (GEN(i) == from || GEN(i) == to) && all && !MEMBER(i) && GEN(i) == from && bs[i] == SERVING -> forget(i); order(i, PAUSE)
           :: (GEN(i) == from || GEN(i) == to) && all && !MEMBER(i) && GEN(i) == to -> giveUpOne(i)
           :: else
           fi
        fi;
        i++
     :: else -> break
     od;
     fails = !all;
     if :: all && IN(batch, 0) && bs[CELL(to, 0)] != SERVING && bs[CELL(to, 0)] != PAUSED -> fails = true :: else fi;
     if :: all && IN(batch, 1) && bs[CELL(to, 1)] != SERVING && bs[CELL(to, 1)] != PAUSED -> fails = true :: else fi
  fi
}

/* --- what happens ------------------------------------------------------------------------------------------------------------------------ */

/* How much of the step is done before the launcher is killed; nearly always: all. */
inline begin() {
  effects = 255; dying = false;
  if
  :: true
  :: kills > 0 && stopping == 0 -> kills--; dying = true;
     if :: effects = 0 :: effects = 1 :: effects = 2 :: effects = 3 :: effects = 4 :: effects = 5 :: effects = 6 fi
  fi
}
/* Control goes to the brain with the event, in the same atomic step. */
chan settleAll = [0] of { bit };
inline finish() { settleAll!0 }
proctype Brain() {
  do
  :: atomic { settleAll?_ -> d_step { settle(); if :: dying -> die() :: else fi; effects = 0; dying = false } }
  od
}

/* A worker, and what the brain hears of it. */
proctype Worker(byte w) {
  byte o;
  do
  /* Its own doing. orders.ts: one after the other, as they lie in its channel. */
  :: atomic { ws[w] == BOOT && kind[GEN(w)] == 1 -> ws[w] = DEAD }
  :: atomic { ws[w] == BOOT && kind[GEN(w)] != 1 -> ws[w] = HELD; 
#ifndef MUTANT_NO_SPARES
       spare[w] = true
#endif
     }
  :: d_step { ws[w] >= HELD && ws[w] <= DRAINING && done[w] < ORDERS && O(w, done[w]) != 0 ->
       o = O(w, done[w]) & (LATE - 1); done[w] = done[w] + 1;
       if
       :: o == ADMIT && ws[w] == HELD -> ws[w] = SERVING
       :: o == PAUSE && ws[w] == SERVING -> ws[w] = PAUSED; adopts[w] = false
       :: o == RESUME && ws[w] == PAUSED -> ws[w] = SERVING
       :: o == DRAIN -> ws[w] = DRAINING; adopts[w] = false
       :: o == LAST ->
          /* I6: unless somebody was too slow to answer, or was killed. */
          assert(LATES > lates || CRASHES > crashes || (!copies && (w == 0 || !spare[0] || !ALIVE(0)) && (w == 1 || !spare[1] || !ALIVE(1)) && (w == 2 || !spare[2] || !ALIVE(2)) && (w == 3 || !spare[3] || !ALIVE(3))));
          ws[w] = DRAINING; adopts[w] = false
       :: o == ADOPT && ws[w] == SERVING -> adopts[w] = true
       :: o == UNADOPT -> adopts[w] = false
       :: o == DROP -> spare[w] = false
       :: o >= TERM -> told[w] = o - TERM
       :: else
       fi; o = 0 }
  :: atomic { ws[w] == DRAINING && O(w, done[w]) == 0 -> ws[w] = DEAD }
  :: atomic { ws[w] == SERVING && kind[GEN(w)] == 4 && deaths > 0 -> deaths--; ws[w] = DEAD; died = true }
  :: atomic { crashes > 0 && ALIVE(w) -> crashes--; died = true; ws[w] = DEAD }

  /* The brain hears of it (workers.ts). */
  :: atomic { up && THERE(w) && stopping < 3 && done[w] > 0 && (ws[w] != DEAD) -> begin();
       d_step { o = O(w, 0);
         k = 0; do :: k < ORDERS - 1 -> O(w, k) = O(w, k + 1); k++ :: else -> break od; O(w, ORDERS - 1) = 0;
         done[w] = done[w] - 1;
         stuck[w] = false;
         if
         :: o == ADMIT && bs[w] == READY -> bs[w] = SERVING; order(w, TERM + wterm[SLOT(w)])
         :: o == RESUME ->
            /* What was asked for before it has been overtaken by it: nothing before the first one of the queue is left. */
            if :: bs[w] == PAUSED && !AWAITS(w, PAUSE) -> bs[w] = SERVING :: else fi
         :: o == PAUSE && bs[w] == SERVING -> bs[w] = PAUSED
         :: else
         fi; o = 0 };
       finish() }
  :: atomic { up && bs[w] == BOOT && ws[w] == HELD && kind[GEN(w)] != 2 -> begin(); bs[w] = READY; finish() }
#ifdef MUTANT_ADMITS_ON_TIME_OUT
  :: atomic { up && bs[w] == BOOT && ws[w] == HELD && kind[GEN(w)] == 2 -> begin(); bs[w] = READY; finish() }
#endif
  :: atomic { up && bs[w] == BOOT && ws[w] == HELD && kind[GEN(w)] == 2 -> begin(); d_step { failed[w] = true; kill(w) }; finish() }
  :: atomic { up && THERE(w) && ws[w] == DEAD -> begin();
       d_step {
         if :: bs[w] == BOOT || bs[w] == READY || bs[w] == SERVING -> failed[w] = true :: else fi;
         forget(w);
         fails = (failed[w] && stage != CALM && to == GEN(w));
         stopgaps = stopgaps & (255 - (1 << w));
         bs[w] = NONE; ws[w] = NONE; wipe(w); failed[w] = false; stuck[w] = false; spare[w] = false; adopts[w] = false; told[w] = 0;
#ifdef MUTANT_CLOSES_WITH_THE_WORKER
         copies = false
#endif
       };
       finish() }
  :: atomic { up && stage == BAKE && !undo && !deferred && kind[GEN(w)] == 3 && GEN(w) == to && bs[w] == SERVING && IN(batch, SLOT(w)) ->
       begin(); fails = true; finish() }
  /* order-late: of any that is waited for. */
  :: atomic { up && lates > 0 && stopping < 3 && AWAITS(w, ADMIT) -> begin(); lates--;
       d_step { j = 0; do :: O(w, j) != ADMIT -> j++ :: else -> break od; O(w, j) = ADMIT + LATE; stuck[w] = true; failed[w] = true; kill(w) };
       finish() }
  :: atomic { up && lates > 0 && stopping < 3 && AWAITS(w, PAUSE) -> begin(); lates--;
       d_step { j = 0; do :: O(w, j) != PAUSE -> j++ :: else -> break od; O(w, j) = PAUSE + LATE; stuck[w] = true;
         if :: bs[w] == SERVING -> bs[w] = PAUSED :: else fi; settleEarlier(w, RESUME, j) };
       finish() }
  :: atomic { up && lates > 0 && stopping < 3 && AWAITS(w, RESUME) -> begin(); lates--; stuck[w] = true; finish() }
  :: atomic { up && lates > 0 && stopping < 3 && AWAITS(w, DROP) -> begin(); lates--;
       d_step { j = 0; do :: O(w, j) != DROP -> j++ :: else -> break od; O(w, j) = DROP + LATE; stuck[w] = true };
       finish() }
  od
}

proctype Operator() {
  do
  :: atomic { up && asked < GENS - 1 && top + waiting < GENS - 1 && stopping == 0 -> begin(); asked++; waiting++;
       if
       :: kind[top + 1] = 0
       :: KINDS >= 1 -> kind[top + 1] = 1
       :: KINDS >= 2 -> kind[top + 1] = 2
       :: KINDS >= 3 -> kind[top + 1] = 3
       :: KINDS >= 4 -> kind[top + 1] = 4
       fi;
       finish() }
  /* bakeOver(), however soon. */
  :: atomic { up && stage == BAKE && !undo && !deferred -> begin(); d_step { retire() }; finish() }
  :: atomic { up && stops > 0 && stopping == 0 -> stops--; effects = 255; d_step { beginStop() }; finish() }
  :: atomic { !up && ALL_HAVE_COME -> d_step { effects = 255; adoptAll() }; finish() }
  od
}

#if GENS > 2
#define SOMEBODY(p0, p1, p2, p3, p4, p5) (p0 || p1 || p2 || p3 || p4 || p5)
#define HOLDER(s) (copies || SOMEBODY(HOLDS(0, s), HOLDS(1, s), HOLDS(2, s), HOLDS(3, s), HOLDS(4, s), HOLDS(5, s)))
#define ACCEPTOR(s) (SOMEBODY(ACCEPTS(0, s), ACCEPTS(1, s), ACCEPTS(2, s), ACCEPTS(3, s), ACCEPTS(4, s), ACCEPTS(5, s)))
#define COMING(s) (SOMEBODY(COMES(0, s), COMES(1, s), COMES(2, s), COMES(3, s), COMES(4, s), COMES(5, s)))
#else
#define HOLDER(s) (copies || HOLDS(0, s) || HOLDS(1, s) || HOLDS(2, s) || HOLDS(3, s))
#define ACCEPTOR(s) (ACCEPTS(0, s) || ACCEPTS(1, s) || ACCEPTS(2, s) || ACCEPTS(3, s))
#define COMING(s) (COMES(0, s) || COMES(1, s) || COMES(2, s) || COMES(3, s))
#endif
#define HOLDS(w, s) (ws[w] >= HELD && ws[w] <= DRAINING && (spare[w] || (SLOT(w) == s && ws[w] != DRAINING)))
#define ACCEPTS(w, s) (ws[w] == SERVING && (SLOT(w) == s || adopts[w]))
#define COMES(w, s) (ALIVE(w) && ((SLOT(w) == s && AWAITS(w, RESUME)) || (SLOT(w) != s && AWAITS(w, ADOPT))))
#define OVER(g) (ws[CELL(g, 0)] == NONE && ws[CELL(g, 1)] == NONE)

proctype Monitor() {
  do
  :: atomic { stopping == 0 && !(HOLDER(0) && HOLDER(1)) -> assert(false) }                               /* I1 */
  :: atomic { stopping == 0 && !died && !(ACCEPTOR(0) || COMING(0)) -> assert(false) }                    /* I2 */
  :: atomic { stopping == 0 && !died && !(ACCEPTOR(1) || COMING(1)) -> assert(false) }
  :: atomic { stopping == 0 && !died && !undo && KINDS < 3 && kills == KILLS && !(ACCEPTOR(0) && ACCEPTOR(1)) -> assert(false) }
  :: timeout ->
     d_step {
       assert(asked == answered);                                                                        /* I8 */
       if
       :: STOPS > stops -> assert(stopping == 3)                                                         /* I9 */
       :: else ->
          assert(up && stage == CALM && working[0] == working[1]);                                         /* I5 */
          assert(ws[CELL(working[0], 0)] == SERVING && ws[CELL(working[0], 1)] == SERVING);
          assert(bs[CELL(working[0], 0)] == SERVING && bs[CELL(working[0], 1)] == SERVING);
          assert(adopter[0] == NOBODY && adopter[1] == NOBODY && !adopts[CELL(working[0], 0)] && !adopts[CELL(working[0], 1)]);
          assert(!bad[working[0]]);                                                                      /* I3 */
          i = 0; do :: i < GENS -> assert(i == working[0] || OVER(i)); i++ :: else -> break od;          /* I4 */
          assert(named[wterm[0]] == working[0] && named[wterm[1]] == working[1]);                        /* I7 */
          assert(told[CELL(working[0], 0)] == wterm[0] && told[CELL(working[0], 1)] == wterm[1])
       fi
     };
     break
  od
}

init {
  atomic {
    adopter[0] = NOBODY; adopter[1] = NOBODY;
    /* start.ts: the first generation serves, and was told so. */
    i = 0;
    do :: i < SLOTS -> ws[i] = SERVING; bs[i] = SERVING; spare[i] = true; told[i] = 1; wterm[i] = 1; i++ :: else -> break od;
#ifdef MUTANT_NO_SPARES
    spare[0] = false; spare[1] = false;
#endif
    term = 1; named[1] = 0;
    run Worker(0); run Worker(1); run Worker(2); run Worker(3);
#if GENS > 2
    run Worker(4); run Worker(5);
#endif
    run Brain(); run Operator(); run Monitor()
  }
}
