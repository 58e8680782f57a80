/*
 * An open-loop client: requests are due at fixed times, whatever became of those before them, and each is as late as its answer comes after
 * the moment at which it was due. So a server that stands still for a second is seen by all who would have come in that second, which a client
 * that waits for one answer before its next request does not show ("coordinated omission"). Nothing is asked twice.
 *
 *     open-loop PORT RATE SECONDS CONNECTIONS new|kept FILE
 *
 * It ends after SECONDS, or at SIGTERM: what is due until then is asked, and its answers are awaited.
 * `new`: a connection for each request, at most CONNECTIONS at a time. `kept`: CONNECTIONS that stay. FILE gets three doubles for each
 * request: when it was due (CLOCK_MONOTONIC, ms); after how many ms its answer was whole, negative: it failed; and which process has answered,
 * as its text says ("process 123"), 0: it says none. The last line of stdout is what came of all, as JSON; "started" is the first line, once
 * every connection is there.
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, MOST_EVENTS = 256, ANSWER = 8192 };

/** Whoever waits longer than this has been failed. */
static const double TIMEOUT_MS = 10000;

struct connection {
  int fd; /* -1: there is none. */
  int is_connected;
  long request; /* -1: it waits for none. */
  size_t length;
  char answer[ANSWER];
};

static struct connection connections[MAX_CONNECTIONS];
/** Whoever was used last is the last to be used again: none is idle for as long as a server closes those that are. */
static int idle[MAX_CONNECTIONS];
static int idle_count;
static double *due;
static double *took;
static double *answered_by;
static long done;
static long failed;
/** Idle connections that went without a word: an answer before could have said `Connection: close`. */
static long closed;
static int is_new;
static volatile sig_atomic_t is_over;
static int poll_fd;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void end(int signal) {
  (void)signal;
  is_over = 1;
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void open_connection(struct connection *one) {
  int on = 1;
  one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (one->fd < 0) fail("socket");
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  one->is_connected = 0;
  one->length = 0;
  /* What is refused at once is found when it is read, as what is refused later. */
  (void)!connect(one->fd, (struct sockaddr *)&address, sizeof address);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = one};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, one->fd, &event) < 0) fail("epoll_ctl");
}

static void send_request(struct connection *one) {
  static const char kept[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  static const char once[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  /* What cannot be written is found when it is read. */
  ssize_t sent = send(one->fd, is_new ? once : kept, (is_new ? sizeof once : sizeof kept) - 1, MSG_NOSIGNAL);
  (void)sent;
}

static void settle(struct connection *one, double ms) {
  took[one->request] = ms < 0 ? -1 : ms;
  if (ms < 0) failed++;
  done++;
  one->request = -1;
  one->length = 0;
}

static void let_go(struct connection *one) {
  close(one->fd);
  one->fd = -1;
  if (one->request >= 0) settle(one, -1);
}

/** Whether an answer says that its connection ends with it. */
static int is_last(struct connection *one) {
  char *end = strstr(one->answer, "\r\n\r\n");
  char *field = strcasestr(one->answer, "\r\nconnection: close");
  return field != NULL && field < end;
}

/** Whether the answer is whole. */
static int is_whole(struct connection *one) {
  one->answer[one->length] = 0;
  char *end = strstr(one->answer, "\r\n\r\n");
  if (end == NULL) return 0;
  char *field = strcasestr(one->answer, "\r\ncontent-length:");
  if (field == NULL || field > end) return 0;
  return one->length >= (size_t)(end + 4 - one->answer) + (size_t)atol(field + 17);
}

static int take_idle(int index) {
  int taken = idle[index];
  idle_count--;
  memmove(&idle[index], &idle[index + 1], (size_t)(idle_count - index) * sizeof *idle);
  return taken;
}

static void readable(struct connection *one) {
  for (;;) {
    ssize_t count = read(one->fd, one->answer + one->length, ANSWER - 1 - one->length);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      if (one->request < 0) closed++;
      let_go(one);
      break;
    }
    one->length += (size_t)count;
    if (one->request < 0 || !is_whole(one)) continue;
    int is_ok = strncmp(one->answer, "HTTP/1.1 200", 12) == 0;
    char *process = strstr(strstr(one->answer, "\r\n\r\n"), "process ");
    if (process != NULL) answered_by[one->request] = (double)atol(process + 8);
    int ends = is_new || is_last(one);
    settle(one, is_ok ? now_ms() - due[one->request] : -1);
    if (ends) {
      let_go(one);
      break;
    }
    idle[idle_count++] = (int)(one - connections);
  }
  if (one->fd >= 0) return;
  if (is_new) {
    idle[idle_count++] = (int)(one - connections);
    return;
  }
  /* An idle one that was closed is still among the idle ones. */
  for (int index = 0; index < idle_count; index++)
    if (idle[index] == (int)(one - connections)) take_idle(index--);
  open_connection(one);
}

static void ready(struct connection *one, unsigned events) {
  if (one->fd < 0) return;
  if (!one->is_connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
    one->is_connected = 1;
    if (one->request >= 0) send_request(one);
    else idle[idle_count++] = (int)(one - connections);
  }
  if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) readable(one);
}

static void begin(long request) {
  struct connection *one = &connections[take_idle(0)];
  one->request = request;
  one->length = 0;
  if (is_new) open_connection(one);
  else send_request(one);
}

static void wait_events(double until) {
  struct epoll_event events[MOST_EVENTS];
  double left = until - now_ms();
  struct timespec timeout = {0, 0};
  if (left > 0) {
    timeout.tv_sec = (time_t)(left / 1e3);
    timeout.tv_nsec = (long)((left - (double)timeout.tv_sec * 1e3) * 1e6);
  }
  int count = epoll_pwait2(poll_fd, events, MOST_EVENTS, &timeout, NULL);
  for (int index = 0; index < count; index++) ready(events[index].data.ptr, events[index].events);
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: open-loop PORT RATE SECONDS CONNECTIONS new|kept FILE\n");
    return 2;
  }
  double rate = atof(argv[2]);
  long total = (long)(rate * atof(argv[3]));
  int count = atoi(argv[4]);
  is_new = strcmp(argv[5], "new") == 0;
  if (count < 1 || count > MAX_CONNECTIONS || total < 1) return 2;
  address.sin_port = htons((unsigned short)atoi(argv[1]));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  signal(SIGTERM, end);
  due = calloc((size_t)total, sizeof *due);
  took = calloc((size_t)total, sizeof *took);
  answered_by = calloc((size_t)total, sizeof *answered_by);
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (due == NULL || took == NULL || answered_by == NULL || poll_fd < 0) fail("start");
  for (int index = 0; index < count; index++) {
    connections[index].fd = -1;
    connections[index].request = -1;
    if (is_new) idle[idle_count++] = index;
    else open_connection(&connections[index]);
  }
  double deadline = now_ms() + TIMEOUT_MS;
  while (idle_count < count && now_ms() < deadline) wait_events(deadline);
  printf("started\n");
  fflush(stdout);
  double begun = now_ms();
  for (long index = 0; index < total; index++) due[index] = begun + (double)index * 1e3 / rate;
  deadline = due[total - 1] + TIMEOUT_MS;
  long next = 0;
  while (done < total && now_ms() < deadline) {
    if (is_over) {
      is_over = 0;
      long asked = next;
      while (asked < total && due[asked] <= now_ms()) asked++;
      total = asked;
      deadline = now_ms() + TIMEOUT_MS;
    }
    while (next < total && idle_count > 0 && due[next] <= now_ms()) begin(next++);
    wait_events(next < total && idle_count > 0 ? due[next] : deadline);
  }
  /* Those that have no answer by now. */
  for (long index = 0; index < total; index++)
    if (index >= next || took[index] == 0) {
      took[index] = -1;
      failed++;
    }
  FILE *file = fopen(argv[6], "w");
  if (file == NULL) fail(argv[6]);
  for (long index = 0; index < total; index++) {
    fwrite(&due[index], sizeof *due, 1, file);
    fwrite(&took[index], sizeof *took, 1, file);
    fwrite(&answered_by[index], sizeof *answered_by, 1, file);
  }
  if (fclose(file) != 0) fail(argv[6]);
  printf("{\"requests\":%ld,\"failed\":%ld,\"closed\":%ld}\n", total, failed, closed);
  return 0;
}
