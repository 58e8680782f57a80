/*
 * How many descriptors a second go through a unix socket (SOCK_SEQPACKET, SCM_RIGHTS) when a C program sends them to itself, takes and closes
 * them, so many in each message.
 *
 *     descriptors MS SIZE…
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SCM_MAX_FD = 253 };

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  int pair[2];
  int file = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (file < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) fail("start");
  double limit = argc > 1 ? atof(argv[1]) : 500;
  for (int argument = 2; argument < argc; argument++) {
    size_t size = (size_t)atoi(argv[argument]);
    if (size < 1 || size > SCM_MAX_FD) return 2;
    char text = 'x';
    struct iovec data = {&text, 1};
    union {
      struct cmsghdr header;
      char space[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
    } control;
    long sent = 0;
    double begun = now_ms();
    double took = 0;
    while ((took = now_ms() - begun) < limit) {
      struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space};
      message.msg_controllen = CMSG_SPACE(size * sizeof(int));
      control.header.cmsg_level = SOL_SOCKET;
      control.header.cmsg_type = SCM_RIGHTS;
      control.header.cmsg_len = CMSG_LEN(size * sizeof(int));
      int *out = (int *)CMSG_DATA(&control.header);
      for (size_t index = 0; index < size; index++) out[index] = file;
      if (sendmsg(pair[0], &message, 0) < 0) fail("sendmsg");
      message.msg_controllen = sizeof control.space;
      if (recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) < 0) fail("recvmsg");
      const int *in = (const int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
      for (size_t index = 0; index < size; index++) close(in[index]);
      sent += (long)size;
    }
    printf("%zu %.0f\n", size, (double)sent * 1e3 / took);
  }
  return 0;
}
