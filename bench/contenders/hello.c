/*
 * The reference line: what the kernel gives to a server that does next to nothing. So many processes, each with a SO_REUSEPORT socket and
 * an epoll of its own, answer every request with the same few bytes as the program of the other contenders.
 *
 *     hello PORT PROCESSES
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char kept[] =
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive\r\n"
    "Keep-Alive: timeout=5\r\nContent-Length: 23\r\n\r\nhello from process 1000\n";
static const char closed[] =
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n"
    "Content-Length: 23\r\n\r\nhello from process 1000\n";

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* A request that comes in pieces, or several at once, is none of a load client's. */
static void answer(int fd) {
  char request[4096];
  ssize_t length = read(fd, request, sizeof request - 1);
  if (length <= 0) {
    if (length == 0 || errno != EAGAIN) close(fd);
    return;
  }
  request[length] = 0;
  int closes = strcasestr(request, "\r\nconnection: close") != NULL;
  if (write(fd, closes ? closed : kept, closes ? sizeof closed - 1 : sizeof kept - 1) < 0 || closes) close(fd);
}

static void serve(int port) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int one = 1;
  int zero = 0;
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) fail("socket");
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0) fail("SO_REUSEPORT");
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 511) < 0) fail("listen");
  int poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &wanted);
  for (;;) {
    struct epoll_event events[64];
    int count = epoll_wait(poll, events, 64, -1);
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd;
      if (fd != listener) {
        answer(fd);
        continue;
      }
      for (int client; (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event readable = {.events = EPOLLIN, .data.fd = client};
        epoll_ctl(poll, EPOLL_CTL_ADD, client, &readable);
      }
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: hello PORT PROCESSES\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  for (int index = 0; index < atoi(argv[2]); index++)
    if (fork() == 0) serve(atoi(argv[1]));
  while (wait(NULL) > 0 || errno == EINTR) continue;
  return 0;
}
