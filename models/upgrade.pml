/*
 * A new launcher in the place of the old one, by execve(2) in the same process (`src/launcher/upgrade/upgrader.ts`, `inherited.ts`, `launcher.ts`
 * resume(), `src/launcher/brain/upgrade.ts`; the shield: `native/core/shield.cc`). Meanwhile signals arrive, workers say something, operators
 * order upgrades and a stop.
 *
 *   SIGNALS (SIGTERM: stop), ORDERS (upgrade, by the control socket), REPORTS (of workers): how many may come.
 *
 * U1  never two that act: the one that is tried does nothing
 * U2  the launcher's copies of the sockets are there at every instant
 * U3  in the end one acts, or it has stopped, or the new one has failed after it was tried (then the workers serve on; limits.md)
 * U4  no signal ends the launcher by its default disposition
 * U5  whatever has come is acted upon: each signal leads to a stop, each report is heard
 * U6  each order gets exactly one answer
 * U7  a stop wins: who has heard of it is not replaced any more
 *
 * A turn of the event loop hears of everything that has come by then. Other work of the launcher, and reloads, are not here.
 */
#ifndef SIGNALS
#define SIGNALS 1
#endif
#ifndef ORDERS
#define ORDERS 2
#endif
#ifndef REPORTS
#define REPORTS 1
#endif
#ifndef FAILS
#define FAILS 0    /* the new one may fail after it was tried: a file was changed in between */
#endif

#define OLD 0
#define NEW 1
byte image = OLD;
bool up = true, stopped, hasFailed;
bool copies = true;
/* The kernel. Signals of a kind count once, while they are not delivered. */
bool blocked, pending, handlers = true;
byte reports, orders;          /* unread: in channels, in the control socket */
byte signals = SIGNALS, toReport = REPORTS, toOrder = ORDERS;
bool came;                     /* a SIGTERM has */
/* In memory: gone with the image, but for what is saved. */
bool taken;                    /* by the handler: it is in libuv's pipe */
bool isStopping;
bool upgrading;                /* state.upgrade */
byte callers, waiting;         /* of the one that runs, of the one that waits */
byte heard, answered;
/* The document: what the old image has saved. */
bool saved, savedStopping; byte savedCallers, savedWaiting, savedHeard;
bool savedCopies;
/* The one that is tried. */
#define NOT_TRIED 0
#define TRIED 1
#define SAYS_YES 2
#define SAYS_NO 3
byte trial; bool trialActs;

/* stop.ts, upgrade.ts stopUpgrades(), and whoever asks later. */
inline hearStop() {
  if
  :: !isStopping -> isStopping = true; answered = answered + callers + waiting; callers = 0; waiting = 0; upgrading = false
  :: else
  fi
}
inline turn() {
  d_step {
    heard = heard + reports; reports = 0;
    if
    :: isStopping -> answered = answered + orders
    :: else -> waiting = waiting + orders
    fi;
    orders = 0;
    if :: taken -> taken = false; hearStop() :: else fi
  }
}
inline save() {
  d_step { saved = true; savedStopping = isStopping; savedCallers = callers; savedWaiting = waiting; savedHeard = heard; savedCopies = true }
}
/* What was waiting is delivered, when it may be. */
inline lower() { blocked = false; if :: pending -> pending = false; taken = true :: else fi }

proctype Launcher() {
  bool isNew;
serve:
  do
  :: atomic { up && !stopped && (reports > 0 || orders > 0 || taken) -> turn() }
  /* startUpgrade() */
  :: atomic { !isStopping && !upgrading && waiting > 0 && image == OLD -> upgrading = true; callers = waiting; waiting = 0 }; goto try
  /* A newer one is as this one, and one upgrade is looked at. */
  :: atomic { !isStopping && !upgrading && waiting > 0 && image == NEW -> answered = answered + waiting; waiting = 0 }
  /* The workers have drained. */
  :: atomic { isStopping && !stopped && reports == 0 && orders == 0 && !taken -> stopped = true; up = false; copies = false }; break
  od;
  goto over;

try:
#ifndef MUTANT_IS_NOT_TRIED
  trial = TRIED;
  do
  :: trial == TRIED && (reports > 0 || orders > 0 || taken) -> turn()
  :: trial == SAYS_YES -> break
  /* No, or an end, or nothing within its time: it is killed. */
  :: atomic { trial == SAYS_NO -> trial = NOT_TRIED; goto refused }
  :: atomic { trial == TRIED -> trial = NOT_TRIED; trialActs = false; goto refused }
  od;
  trial = NOT_TRIED;
#endif
#ifdef MUTANT_SAVES_BEFORE_THE_TURNS
  save();
#endif
#ifndef MUTANT_NO_SHIELD
  blocked = true;
#endif
#ifndef MUTANT_NO_TURNS
  turn();
  turn();
#endif
#ifndef MUTANT_DOES_NOT_ASK_AGAIN
  if
  :: !upgrading -> atomic { lower(); goto serve }
  :: else
  fi;
#endif
#ifndef MUTANT_SAVES_BEFORE_THE_TURNS
  save();
#endif
  /* execve(2), in the turn of the save. What memory had is gone, descriptors stay that are named in the document. */
  atomic {
    assert(!isStopping);                                                                 /* U7 */
    d_step {
      image = NEW; handlers = false; taken = false; isStopping = false; upgrading = false; callers = 0; waiting = 0; heard = 0;
#ifdef MUTANT_CLOSES_ON_EXEC
      copies = false
#else
      copies = savedCopies
#endif
    }
  };
  /* takeImage(). */
  if
  :: true
#ifndef MUTANT_IS_NOT_TRIED
  :: FAILS -> goto fail
#else
  :: goto fail
#endif
  fi;
#ifdef MUTANT_LOWERS_BEFORE_ITS_HANDLERS
  atomic { blocked = false; if :: pending -> up = false; assert(false) :: else fi };     /* U4 */
#endif
  handlers = true;
  d_step { isStopping = savedStopping; callers = savedCallers; waiting = savedWaiting; heard = savedHeard; lower() };
  /* The first event: upgraded(). */
#ifndef MUTANT_FORGETS_WHO_WAITS
  d_step { answered = answered + callers; callers = 0 };
#endif
  goto serve;

refused:
  atomic { if :: upgrading -> upgrading = false; answered = answered + callers; callers = 0 :: else fi };
  goto serve;

fail:
  atomic { hasFailed = true; up = false; copies = false; blocked = false; pending = false };
over:
  skip
}

proctype Trial() {
  do
  :: atomic { trial == TRIED ->
#ifdef MUTANT_THE_TRIED_ONE_ACTS
       trialActs = true
#else
       skip
#endif
     };
     if
     :: atomic { trial == TRIED -> trial = SAYS_YES; trialActs = false }
     :: atomic { trial == TRIED -> trial = SAYS_NO; trialActs = false }
     :: trial != TRIED                                                                  /* it hangs */
     fi
  od
}

proctype World() {
  do
  :: atomic { signals > 0 && up -> signals--; came = true;
       if
       :: blocked -> pending = true
       :: !blocked && handlers -> taken = true
       :: else -> up = false; assert(false)                                             /* U4 */
       fi }
  :: atomic { toReport > 0 && up -> toReport--; reports++ }
  :: atomic { toOrder > 0 && up && !stopped -> toOrder--; orders++ }
  :: break
  od
}

proctype Monitor() {
  do
  :: atomic { trialActs && up -> assert(false) }                                        /* U1 */
  :: atomic { up && !copies -> assert(false) }                                          /* U2 */
  :: timeout -> d_step {
       assert(up || stopped || (hasFailed && FAILS));                                   /* U3 */
       assert(hasFailed || !came || stopped);                                           /* U5 */
       assert(hasFailed || stopped || heard == REPORTS - toReport);
       assert(hasFailed || answered == ORDERS - toOrder - orders) };                    /* U6 */
     break
  od
}

init { atomic { run Launcher(); run Trial(); run World(); run Monitor() } }
