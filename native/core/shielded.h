/*
 * The signals that must not end the launcher while it replaces itself: those that it acts on, and those that would stop or end a process
 * that has no handler yet. Plain C: the preloaded object (native/shield.c) has the same ones.
 */
#pragma once

#include <signal.h>

static const int kShieldedSignals[] = {
    SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,   SIGALRM,  SIGTERM, SIGCHLD, SIGCONT,
    SIGTSTP, SIGTTIN, SIGTTOU, SIGVTALRM, SIGWINCH, SIGIO,   SIGPWR,
#ifdef SIGSTKFLT
    SIGSTKFLT,
#endif
};
