#include "core/spawn.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <cstddef>

#include "check.h"
#include "open_files.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

using namespace reuseport;

namespace {

struct Ended {
  int status = -1;
  std::string output;
  SpawnFailure failure;
};

/** Runs `script` by /bin/sh with its stdout and stderr in a pipe, and waits for its end. */
Ended sh(const std::string& script, SpawnRequest request) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) == -1) std::perror("pipe2");
  const Fd read(ends[0]);
  Fd write(ends[1]);
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  request.argv = {"sh", "-c", script};
  request.stdio[0] = null.get();
  request.stdio[1] = request.stdio[2] = write.get();

  Ended ended;
  const Spawned child = startProcess(request, ended.failure);
  write = Fd();
  if (ended.failure.error != 0) return ended;
  char part[4096];
  for (ssize_t size; (size = ::read(read.get(), part, sizeof part)) > 0;) ended.output.append(part, static_cast<std::size_t>(size));
  pollfd watched{child.pidfd.get(), POLLIN, 0};
  CHECK(::poll(&watched, 1, 10000) == 1);
  CHECK(::waitpid(child.pid, &ended.status, 0) == child.pid);
  return ended;
}

SpawnRequest plain() { return {"/bin/sh", {}, {"PATH=/usr/bin:/bin"}, "/", {}}; }

/** close_range(2) is as on Linux 5.8 from here on, for this process and its children. */
void forgetCloseRange() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{4, code};
  CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/** The descriptors of the shell itself, while many without close-on-exec are open here. */
std::string inheritedByChild() {
  std::vector<Fd> inheritable;
  for (int i = 0; i < 300; i++) inheritable.emplace_back(::open("/dev/null", O_RDONLY));
  return sh("ls /proc/$$/fd; true", plain()).output;
}

}  // namespace

int main() {
  const int before = openFiles();

  const Ended seven = sh("exit 7", plain());
  CHECK(WIFEXITED(seven.status) && WEXITSTATUS(seven.status) == 7);

  // A session and group of its own, the directory, the environment, the arguments.
  CHECK(sh("read -r pid name state parent group session rest < /proc/$$/stat; [ $group = $$ ] && [ $session = $$ ] && echo own", plain()).output == "own\n");
  SpawnRequest request = plain();
  request.cwd = "/proc/self";
  request.env = {"A=b c", "EMPTY="};
  CHECK(sh("echo \"$A|$EMPTY|${PATH-unset}|$HOME\"", request).output.substr(0, 5) == "b c||");
  request.cwd = "/usr";
  CHECK(sh("pwd", request).output == "/usr\n");

  // Nothing ignored, nothing blocked, although both are so here.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &old);
  CHECK(sh("while read name value; do case $name in SigBlk:|SigIgn:) echo $name$value;; esac; done < /proc/$$/status", plain())
            .output == "SigBlk:0000000000000000\nSigIgn:0000000000000000\n");
  sigset_t now;
  ::sigprocmask(SIG_SETMASK, &old, &now);
  CHECK(sigismember(&now, SIGHUP) == 1);

  // As whom: the directory and the program are that user's matter.
  if (::getuid() == 0) {
    request = plain();
    request.identity = Identity{65534, 65533, {1234}};
    CHECK(sh("grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/$$/status", request).output ==
          "Uid:\t65534\t65534\t65534\t65534\nGid:\t65533\t65533\t65533\t65533\nGroups:\t1234 \n"
          "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    CHECK(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
    request.cwd = "/root";
    const Ended kept = sh("true", request);
    CHECK(kept.failure.error == EACCES && std::string(kept.failure.syscall) == "chdir");
  }

  // Which call failed, and no child left behind.
  request = plain();
  request.cwd = "/nowhere";
  Ended failed = sh("true", request);
  CHECK(failed.failure.error == ENOENT && std::string(failed.failure.syscall) == "chdir");
  request = plain();
  request.file = "/bin/nothing";
  failed = sh("true", request);
  CHECK(failed.failure.error == ENOENT && std::string(failed.failure.syscall) == "execve");
  request.file = "/etc/passwd";
  CHECK(sh("true", request).failure.error == EACCES);
  request.file = "/bin/sh";
  request.env.push_back("BIG=" + std::string(4 * 1024 * 1024, 'x'));
  CHECK(sh("true", request).failure.error == E2BIG);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);

  // Numbers that overlap with the targets: each of 0, 1, 2 must become what it was, not what an earlier copy made of it.
  {
    const Fd saved[] = {Fd(::fcntl(0, F_DUPFD_CLOEXEC, 3)), Fd(::fcntl(1, F_DUPFD_CLOEXEC, 3)), Fd(::fcntl(2, F_DUPFD_CLOEXEC, 3))};
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    const Fd read(ends[0]);
    const Fd write(ends[1]);
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ::dup3(write.get(), 0, O_CLOEXEC);
    ::dup3(null.get(), 1, O_CLOEXEC);
    request = {"/bin/sh", {"sh", "-c", "echo out; echo err >&2"}, {}, "/", {1, 0, 0}};
    SpawnFailure failure;
    const Spawned child = startProcess(request, failure);
    for (int fd = 0; fd < 2; fd++) ::dup2(saved[fd].get(), fd);
    CHECK(failure.error == 0 && ::waitpid(child.pid, nullptr, 0) == child.pid);
    char text[16] = {};
    CHECK(::read(read.get(), text, sizeof text) == 8 && std::string(text) == "out\nerr\n");
  }
  // Further descriptors, in the order given, whatever numbers they have here; and the child's own pid.
  {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    const Fd read(ends[0]);
    const Fd write(ends[1]);
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const Fd low(::fcntl(write.get(), F_DUPFD_CLOEXEC, 3));
    request = plain();
    request.fds = {null.get(), low.get(), null.get()};
    request.pidVariable = "OWN_PID";
    // Without a pipe: the shell itself has an end of it for a moment.
    const char* const list = "for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && printf \"$fd \"; done";
    CHECK(sh(std::string("[ $OWN_PID = $$ ] && echo own; echo four >&4; ") + list, request).output == "own\n0 1 2 3 4 5 ");
    char text[16] = {};
    CHECK(::read(read.get(), text, sizeof text) == 5 && std::string(text) == "four\n");
  }
  request = plain();
  request.stdio[0] = request.stdio[1] = request.stdio[2] = 9999;
  SpawnFailure failure;
  (void)startProcess(request, failure);
  CHECK(failure.error == EBADF);

  CHECK(inheritedByChild() == "0\n1\n2\n");
  forgetCloseRange();
  CHECK(inheritedByChild() == "0\n1\n2\n");

  CHECK(openFiles() == before);
  return checks();
}
