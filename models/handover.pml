/*
 * The handover without a launcher: a row of processes of one program, which have the library and a path
 * (`src/library/handover/offer.ts`: the old one's side; `succession.ts`: the new one's; `meet.ts`: the path and its lock). One serves, the
 * others come to take over, perhaps at the same time. Any of them may be killed at any moment (KILLS), any time may pass (LATES).
 *
 * H1  somebody accepts at every instant, while nobody who accepts was killed
 * H2  sockets and lock are held while any process lives that was given them and not sent away
 * H3  at rest exactly one acts; nobody only if who had all that there was has been killed
 * H4  there is one row: two processes never accept from different sockets of the same address
 * H5  who fails, or is sent away, has never served
 * H6  who gives up has a successor that has said that it accepts
 *
 * An end that comes by itself (close() of the last listener, exit) is a kill to the others. Listeners that only one of the two has, lanes and
 * drains are not here: they concern what is given up already.
 */
#define PROCESSES 3
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LATES
#define LATES 1
#endif
#ifndef TRIES
#define TRIES 1    /* how often one looks for the path again, when its old one has ended before an answer */
#endif
#define NOBODY 9

mtype = { hello, sockets, refused, ready, commit, acting, taken };
/* A connection by the handover path, from the new one's side. Its end is read after what was sent before. */
chan up[PROCESSES] = [3] of { mtype };
chan down[PROCESSES] = [3] of { mtype };
bool newOpen[PROCESSES], oldOpen[PROCESSES];
byte oldOf[PROCESSES];        /* who has accepted it; NOBODY: it waits in the path's queue */
bool connected[PROCESSES];

/* succession.ts */
#define OUT 0
#define MEETING 1
#define CANDIDATE 2
#define RISING 3
#define ACTING 4
#define LEAVING 5
#define OVER 6
byte state[PROCESSES];
bool holds[PROCESSES];        /* copies of the listeners' sockets, of the path's and of its lock */
byte row[PROCESSES];          /* which sockets these are */
byte rows;
byte current[PROCESSES];
bool served[PROCESSES], killed[PROCESSES];
bool alone[PROCESSES];        /* no older one has the sockets, or believes that it has */
/* offer.ts, of the old one, by the new one. */
#define NO_OFFER 0
#define GREETING 1
#define OFFERED 2
#define COMMITTED 3
#define FENCING 4
#define HEARD 5               /* 'acting' was read; its end would be read before anything else */
#define TAKEN 6
#define PAST 7
byte offer[PROCESSES];
byte kills = KILLS, lates = LATES;
bool lost;                    /* who had all that there was has been killed */
hidden byte n, m;

#define ALIVE(i) (state[i] != OUT && state[i] != OVER)
#define ACCEPTS(i) (state[i] == ACTING)
#define SOMEBODY(is) (is(0) || is(1) || is(2))
#define HOLDS(i) (holds[i])

inline closeNew(i) { newOpen[i] = false; do :: down[i]?_ :: empty(down[i]) -> break od }
inline closeOld(i) { oldOpen[i] = false; do :: up[i]?_ :: empty(up[i]) -> break od }

/* The end of a process: the kernel closes what it had. */
inline end(i) {
  state[i] = OVER; holds[i] = false; alone[i] = false; current[i] = NOBODY;
  if :: connected[i] -> closeNew(i) :: else fi;
  n = 0;
  do
  :: n < PROCESSES -> if :: connected[n] && oldOf[n] == i && oldOpen[n] -> closeOld(n); offer[n] = PAST :: else fi; n++
  :: else -> break
  od;
  /* Nobody has the path's socket any more: its queue ends with it. */
  if
  :: !SOMEBODY(HOLDS) ->
     n = 0; do :: n < PROCESSES -> if :: connected[n] && oldOf[n] == NOBODY -> closeOld(n) :: else fi; n++ :: else -> break od
  :: else
  fi
}
inline act(i) { state[i] = ACTING; served[i] = true }
inline fail(i) { assert(!served[i]) /* H5 */; end(i) }
/* offer.ts close(): as if nobody had come. */
inline offerOver(i, j) {
  offer[j] = PAST; closeOld(j);
  if :: current[i] == j -> current[i] = NOBODY :: else fi
}
#define AT_END(j) (empty(up[j]) && !newOpen[j])

/* leaving.ts, succession.ts taken(): its sockets are the new one's; the path's and the lock too; whoever else has come looks again. */
inline give(i, j) {
  offer[j] = TAKEN; state[i] = LEAVING; holds[i] = false; current[i] = NOBODY;
  if :: newOpen[j] -> down[j]!taken :: else fi;
  m = 0;
  do
  :: m < PROCESSES -> if :: m != j && connected[m] && oldOf[m] == i && oldOpen[m] -> closeOld(m); offer[m] = PAST :: else fi; m++
  :: else -> break
  od;
  m = 0
}
#define WAITS(k, i) (k != i && connected[k] && oldOf[k] == NOBODY && oldOpen[k])
#define SOMEBODY_WAITS(i) (WAITS(0, i) || WAITS(1, i) || WAITS(2, i))
#define IS_AT(k, i, o) (connected[k] && oldOf[k] == i && offer[k] == o && ALIVE(i))
#define SAYS(k, i, o, what) (IS_AT(k, i, o) && up[k]?[what])
#define PARTNER(i, o, what) (SAYS(0, i, o, what) || SAYS(1, i, o, what) || SAYS(2, i, o, what))
#define WHICH(i, o, what) if :: SAYS(0, i, o, what) -> j = 0 :: SAYS(1, i, o, what) -> j = 1 :: SAYS(2, i, o, what) -> j = 2 fi
#define ENDED(k, i) (connected[k] && oldOf[k] == i && offer[k] >= GREETING && offer[k] <= FENCING && ALIVE(i) && AT_END(k))
#define SILENT(k, i, o) (IS_AT(k, i, o) && empty(up[k]) && newOpen[k])
#define STAYS(k, i) (k != i && holds[k])
#define OTHER_HOLDS(i) (STAYS(0, i) || STAYS(1, i) || STAYS(2, i))

proctype Process(byte i) {
  byte j, tries = TRIES;
  do
  /* --- as the new one ------------------------------------------------------------------------------------------------------------------ */
  /* meet(): connect(2) finds whoever has the path's socket; nobody: the lock, and everything is its own. */
  :: atomic { state[i] == OUT -> state[i] = MEETING }
  :: atomic { state[i] == MEETING && !connected[i] && SOMEBODY(HOLDS) -> connected[i] = true; oldOf[i] = NOBODY; newOpen[i] = true; oldOpen[i] = true; up[i]!hello }
#ifdef MUTANT_NO_LOCK
  :: atomic { state[i] == MEETING && !connected[i] -> rows++; row[i] = rows; holds[i] = true; alone[i] = true; state[i] = CANDIDATE }
#else
  :: atomic { state[i] == MEETING && !connected[i] && !SOMEBODY(HOLDS) -> rows++; row[i] = rows; holds[i] = true; alone[i] = true; state[i] = CANDIDATE }
#endif
  /* greet() */
  :: atomic { state[i] == MEETING && connected[i] && down[i]?[sockets] -> down[i]?sockets; state[i] = CANDIDATE }
  :: atomic { state[i] == MEETING && connected[i] && down[i]?[refused] -> down[i]?refused; d_step { fail(i) } }
  /* Its end before an answer: it looks again, and at its deadline it gives up. */
  :: atomic { state[i] == MEETING && connected[i] && empty(down[i]) && !oldOpen[i] -> d_step { closeNew(i); connected[i] = false; offer[i] = NO_OFFER };
       if :: tries > 0 -> tries-- :: tries == 0 -> d_step { fail(i) } fi }
  :: atomic { state[i] == MEETING && connected[i] && empty(down[i]) && lates > 0 -> lates--; d_step { fail(i) } }
  /* rise(): every listener is ready. */
  :: atomic { state[i] == CANDIDATE && connected[i] && newOpen[i] && (nempty(down[i]) || oldOpen[i]) ->
       state[i] = RISING; if :: oldOpen[i] -> up[i]!ready :: else fi }
  :: atomic { state[i] == CANDIDATE && (!connected[i] || !newOpen[i]) -> act(i) }
  /* heardOld(), oldEnded() */
  /* It looks once more whether the old one lives: if not, nobody else has what it has. */
#ifdef MUTANT_GOES_WHEN_LATE
  :: atomic { (state[i] == CANDIDATE || state[i] == RISING) && connected[i] && down[i]?[refused] -> down[i]?refused; d_step { fail(i) } }
#else
  :: atomic { (state[i] == CANDIDATE || state[i] == RISING) && connected[i] && down[i]?[refused] -> down[i]?refused;
       if :: oldOpen[i] -> d_step { fail(i) } :: !oldOpen[i] -> assert(empty(down[i])) fi }
#endif
  :: atomic { state[i] == ACTING && connected[i] && down[i]?[taken] -> down[i]?taken; alone[i] = true }
  :: atomic { state[i] == ACTING && connected[i] && newOpen[i] && empty(down[i]) && !oldOpen[i] -> newOpen[i] = false; alone[i] = true }
  :: atomic { state[i] == RISING && down[i]?[commit] -> down[i]?commit; act(i); if :: oldOpen[i] -> up[i]!acting :: else fi }
#ifndef MUTANT_ENDS_WITH_THE_OLD_ONE
  :: atomic { state[i] == RISING && empty(down[i]) && !oldOpen[i] -> newOpen[i] = false; alone[i] = true; act(i) }
  :: atomic { state[i] == CANDIDATE && connected[i] && newOpen[i] && empty(down[i]) && !oldOpen[i] -> newOpen[i] = false; alone[i] = true }
#else
  :: atomic { (state[i] == RISING || state[i] == CANDIDATE) && connected[i] && newOpen[i] && empty(down[i]) && !oldOpen[i] -> d_step { fail(i) } }
#endif
  /* The commit has not come: what lies there is read before. */
  :: atomic { state[i] == RISING && empty(down[i]) && oldOpen[i] && lates > 0 -> lates--; d_step { fail(i) } }

  /* --- as the old one ------------------------------------------------------------------------------------------------------------------ */
  /* It listens at the path when its own old one has let go, or has ended. */
#ifdef MUTANT_IS_SUCCEEDED_AT_ONCE
  :: atomic { (state[i] == ACTING || (state[i] == CANDIDATE && !newOpen[i])) && SOMEBODY_WAITS(i) ->
#else
  :: atomic { alone[i] && (state[i] == ACTING || state[i] == CANDIDATE) && SOMEBODY_WAITS(i) ->
#endif
       if :: WAITS(0, i) -> j = 0 :: WAITS(1, i) -> j = 1 :: WAITS(2, i) -> j = 2 fi;
       oldOf[j] = i; offer[j] = GREETING; j = 0 }
  :: atomic { PARTNER(i, GREETING, hello) -> WHICH(i, GREETING, hello); up[j]?hello;
       if
#ifdef MUTANT_SERVES_TWO
       :: state[i] == ACTING
#else
       :: state[i] == ACTING && current[i] == NOBODY
#endif
          -> current[i] = j; offer[j] = OFFERED; down[j]!sockets;
             /* What is on its way is as good as held: to the kernel, too. */
             if :: newOpen[j] -> holds[j] = true; row[j] = row[i] :: else fi
       :: else -> down[j]!refused; d_step { offerOver(i, j) }
       fi; j = 0 }
  :: atomic { PARTNER(i, OFFERED, ready) -> WHICH(i, OFFERED, ready); up[j]?ready; offer[j] = COMMITTED; down[j]!commit;
#ifdef MUTANT_GIVES_UP_AT_THE_COMMIT
       d_step { give(i, j) };
#endif
       j = 0 }
  :: atomic { PARTNER(i, COMMITTED, acting) -> WHICH(i, COMMITTED, acting); up[j]?acting; offer[j] = HEARD; j = 0 }
  /* What it says while it is being sent away is not heard. */
  :: atomic { PARTNER(i, FENCING, ready) -> WHICH(i, FENCING, ready); up[j]?ready; j = 0 }
  :: atomic { PARTNER(i, FENCING, acting) -> WHICH(i, FENCING, acting); up[j]?acting; j = 0 }
  :: atomic { ENDED(0, i) || ENDED(1, i) || ENDED(2, i) ->
       if :: ENDED(0, i) -> j = 0 :: ENDED(1, i) -> j = 1 :: ENDED(2, i) -> j = 2 fi; d_step { offerOver(i, j) }; j = 0 }
  :: atomic { IS_AT(0, i, HEARD) || IS_AT(1, i, HEARD) || IS_AT(2, i, HEARD) ->
       if :: IS_AT(0, i, HEARD) -> j = 0 :: IS_AT(1, i, HEARD) -> j = 1 :: IS_AT(2, i, HEARD) -> j = 2 fi;
       if :: AT_END(j) -> d_step { offerOver(i, j) } :: nempty(up[j]) || newOpen[j] -> assert(served[j]) /* H6 */; d_step { give(i, j) } fi; j = 0 }
  /* It was not ready in time: it is told, and then killed. What lies there is read before. */
  :: atomic { lates > 0 && (SILENT(0, i, OFFERED) || SILENT(1, i, OFFERED) || SILENT(2, i, OFFERED)) -> lates--;
       if :: SILENT(0, i, OFFERED) -> j = 0 :: SILENT(1, i, OFFERED) -> j = 1 :: SILENT(2, i, OFFERED) -> j = 2 fi;
#ifdef MUTANT_SENDS_AWAY_WITHOUT_A_WORD
       d_step { offerOver(i, j) };
#else
       offer[j] = FENCING; down[j]!refused;
#endif
       j = 0 }
  :: atomic { IS_AT(0, i, FENCING) || IS_AT(1, i, FENCING) || IS_AT(2, i, FENCING) ->
       if :: IS_AT(0, i, FENCING) -> j = 0 :: IS_AT(1, i, FENCING) -> j = 1 :: IS_AT(2, i, FENCING) -> j = 2 fi;
       if :: ALIVE(j) -> d_step { end(j); killed[j] = true } :: else fi; j = 0 }
  /* It was told to serve, and has not said that it does. */
  :: atomic { lates > 0 && (SILENT(0, i, COMMITTED) || SILENT(1, i, COMMITTED) || SILENT(2, i, COMMITTED)) -> lates--;
       if :: SILENT(0, i, COMMITTED) -> j = 0 :: SILENT(1, i, COMMITTED) -> j = 1 :: SILENT(2, i, COMMITTED) -> j = 2 fi;
#ifdef MUTANT_NO_FENCE
       d_step { offerOver(i, j) };
#else
       offer[j] = FENCING;
#endif
       j = 0 }
  /* It has drained. */
  :: atomic { state[i] == LEAVING -> d_step { end(i) } }

  :: atomic { kills > 0 && ALIVE(i) -> kills--;
       d_step {
         killed[i] = true;
         if :: (ACCEPTS(i) || KILLS > kills + 1) && !OTHER_HOLDS(i) -> lost = true :: else fi;
         end(i) } }
  od
}

#define BOTH(i, k) (ACCEPTS(i) && ACCEPTS(k) && row[i] != row[k])
#define NUMBER_ACTING ((state[0] == ACTING) + (state[1] == ACTING) + (state[2] == ACTING))

proctype Monitor() {
  do
  :: atomic { !killed[0] && !killed[1] && !killed[2] && !SOMEBODY(ACCEPTS) -> assert(false) }             /* H1 */
  :: atomic { !lost && !SOMEBODY(HOLDS) -> assert(false) }                                               /* H2 */
  :: atomic { BOTH(0, 1) || BOTH(0, 2) || BOTH(1, 2) -> assert(false) }                                   /* H4 */
  :: timeout -> assert(NUMBER_ACTING == 1 || (lost && NUMBER_ACTING == 0)); break                         /* H3 */
  od
}

init {
  atomic {
    state[0] = ACTING; holds[0] = true; alone[0] = true; served[0] = true; rows = 1; row[0] = 1;
    n = 0; do :: n < PROCESSES -> current[n] = NOBODY; oldOf[n] = NOBODY; n++ :: else -> break od;
    run Process(0); run Process(1); run Process(2); run Monitor()
  }
}
