// Runs a program under ptrace and makes one of its system calls fail, do less than was asked, or be
// the last one. It sees calls that do not pass through libc too. x86-64 Linux, 5.3 or later.
//
//     tracer LOG DATA NAME NUMBER ACTION PROGRAM [ARGUMENT...]
//
// NUMBER counts the calls NAME of all threads from 1; 0 means none. Counting starts when the
// program's loader is done: Rust's runtime calls poll first. ACTION is an error number,
// `short` (half of the bytes) or `kill` (SIGKILL before the call).
//
// LOG gets a line for each call of the table below that returns, with fields that are separated by
// tabs: number among the calls of its name, name, result, `injected` or `-`, and KEY=VALUE for
// paths, inodes, offsets and lengths. DATA gets the bytes of all writes, unless it is `-`.
//
// The exit status is that of the program, 128 and the signal's number, 126 if the system does not
// permit to trace, or 125 after another failure of the tracer.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

// What the arguments of a call are. A letter is one argument: `f` descriptor, `d` descriptor of a
// folder for the path that follows, `p` path, `b` buffer whose length follows, `n` length or number
// of buffers, `o` offset, `g` flags or mode, `-` anything else.
struct call {
  long number;
  const char *name;
  const char *arguments;
  uint64_t count;
};

#define CALL(name, arguments) {SYS_##name, #name, arguments, 0}
static struct call calls[] = {
    CALL(open, "pg"), CALL(openat, "dpg"), CALL(openat2, "dp"), CALL(creat, "pg"),
    CALL(read, "fbn"), CALL(pread64, "fbno"), CALL(readv, "f-n"), CALL(preadv, "f-n"),
    CALL(preadv2, "f"), CALL(write, "fbn"), CALL(pwrite64, "fbno"), CALL(writev, "f-n"),
    CALL(pwritev, "f-n"), CALL(pwritev2, "f"), CALL(copy_file_range, "f-F-n"),
    CALL(sendfile, "F f-n"), CALL(splice, "f-F-n"), CALL(fsync, "f"), CALL(fdatasync, "f"),
    CALL(sync_file_range, "fon"), CALL(syncfs, "f"), CALL(rename, "pq"), CALL(renameat, "dpeq"),
    CALL(renameat2, "dpeqg"), CALL(link, "pq"), CALL(linkat, "dpeqg"), CALL(symlink, "-p"),
    CALL(symlinkat, "-dp"), CALL(unlink, "p"), CALL(unlinkat, "dpg"), CALL(rmdir, "p"),
    CALL(mkdir, "pg"), CALL(mkdirat, "dpg"), CALL(close, "f"), CALL(close_range, "--"),
    CALL(truncate, "pn"), CALL(ftruncate, "fn"), CALL(fallocate, "fgon"), CALL(fadvise64, "fon"),
    CALL(mmap, "--"), CALL(mremap, "--"), CALL(stat, "p"), CALL(lstat, "p"),
    CALL(fstat, "f"), CALL(newfstatat, "dp"), CALL(statx, "dp"), CALL(statfs, "p"),
    CALL(fstatfs, "f"), CALL(access, "p"), CALL(faccessat, "dp"), CALL(faccessat2, "dp"),
    CALL(lseek, "fo"), CALL(getdents64, "fbn"), CALL(readlink, "p"), CALL(readlinkat, "dp"),
    CALL(getcwd, "--"), CALL(chdir, "p"), CALL(chmod, "pg"), CALL(fchmod, "fg"),
    CALL(fchmodat, "dpg"), CALL(chown, "p"), CALL(fchown, "f"),
    CALL(fchownat, "dp"), CALL(utimensat, "dp"), CALL(flock, "fg"), CALL(fcntl, "fg"),
    CALL(ioctl, "fg"), CALL(dup, "f"), CALL(pipe2, "--"), CALL(eventfd2, "--"),
    CALL(socketpair, "--"), CALL(poll, "--"), CALL(ppoll, "--"), CALL(getrandom, "-n"),
    CALL(clone3, "--"), CALL(clone, "--"), CALL(sched_getaffinity, "--"), CALL(prlimit64, "--"),
    CALL(memfd_create, "--"), CALL(madvise, "--"),
};

static FILE *log_file, *data_file;
static uint64_t data_length;

static void fail(const char *what) {
  fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
  exit(125);
}

static void refused(const char *request) {
  fprintf(stderr, "tracer: %s: %s\n", request, strerror(errno));
  exit(126);
}

static struct call *find(uint64_t number) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if ((uint64_t)calls[i].number == number) return &calls[i];
  return NULL;
}

// State of a thread between entry and exit of a call.
struct thread {
  pid_t id;
  struct call *call;  // NULL if the call is not counted
  uint64_t number;
  int injected;
  int error;  // to be returned instead of the call's result, or 0
  char text[4 * PATH_MAX];
  uint64_t arguments[6];
};

static struct thread *threads[4096];

static struct thread *thread_of(pid_t id) {
  struct thread **free_one = NULL;
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    if (threads[i] && threads[i]->id == id) return threads[i];
    if (!threads[i] && !free_one) free_one = &threads[i];
  }
  if (!free_one || !(*free_one = calloc(1, sizeof **free_one))) fail("threads");
  (*free_one)->id = id;
  return *free_one;
}

static void forget(pid_t id) {
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
    if (threads[i] && threads[i]->id == id) {
      free(threads[i]);
      threads[i] = NULL;
    }
}

static size_t copy_from(pid_t id, uint64_t address, void *bytes, size_t length) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", id);
  int memory = open(path, O_RDONLY | O_CLOEXEC);
  if (memory < 0) return 0;
  ssize_t count = pread(memory, bytes, length, (off_t)address);
  close(memory);
  return count < 0 ? 0 : (size_t)count;
}

static void link_of(pid_t id, const char *entry, char *path) {
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/%s", id, entry);
  ssize_t length = readlink(name, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

// Appends the absolute path of an argument, and the inode that has it (0 if there is none).
static void describe_path(struct thread *t, char **at, const char *key, int folder, uint64_t path) {
  char given[PATH_MAX], base[PATH_MAX] = "", whole[2 * PATH_MAX + 2], entry[32];
  given[copy_from(t->id, path, given, sizeof given - 1)] = 0;
  if (given[0] != '/') {
    snprintf(entry, sizeof entry, folder == AT_FDCWD ? "cwd" : "fd/%d", folder);
    link_of(t->id, entry, base);
  }
  const char *rest = given;
  while (rest[0] == '.' && rest[1] == '/') rest += 2;
  snprintf(whole, sizeof whole, *base && *rest ? "%s/%s" : "%s%s", base, rest);
  struct stat found;
  uint64_t inode = lstat(whole, &found) ? 0 : found.st_ino;
  *at += sprintf(*at, "\t%s=%s\t%s_inode=%lu", key, whole, key, inode);
}

static void describe_descriptor(struct thread *t, char **at, const char *key, int descriptor) {
  char entry[32], path[PATH_MAX], name[64], line[128];
  snprintf(entry, sizeof entry, "fd/%d", descriptor);
  link_of(t->id, entry, path);
  snprintf(name, sizeof name, "/proc/%d/fd/%d", t->id, descriptor);
  struct stat found;
  uint64_t inode = stat(name, &found) ? 0 : found.st_ino;
  *at += sprintf(*at, "\t%s=%d\t%s_path=%s\t%s_inode=%lu", key, descriptor, key, path, key, inode);
  *at += sprintf(*at, "\t%s_is_folder=%d", key, inode && S_ISDIR(found.st_mode));
  snprintf(name, sizeof name, "/proc/%d/fdinfo/%d", t->id, descriptor);
  FILE *info = fopen(name, "r");
  long position;
  if (info && fgets(line, sizeof line, info) && sscanf(line, "pos: %ld", &position) == 1)
    *at += sprintf(*at, "\t%s_position=%ld", key, position);
  if (info) fclose(info);
}

static void describe(struct thread *t, const uint64_t *arguments) {
  char *at = t->text;
  *at = 0;
  int folder = AT_FDCWD;
  size_t i = 0;
  for (const char *kind = t->call->arguments; *kind && i < 6; kind++) {
    if (*kind == ' ') continue;
    uint64_t value = arguments[i++];
    switch (*kind) {
      case 'f': describe_descriptor(t, &at, "fd", (int)value); break;
      case 'F': describe_descriptor(t, &at, "to_fd", (int)value); break;
      case 'd': case 'e': folder = (int)value; break;
      case 'p': describe_path(t, &at, "path", folder, value); break;
      case 'q': describe_path(t, &at, "to", folder, value); break;
      case 'n': at += sprintf(at, "\tlength=%lu", value); break;
      case 'o': at += sprintf(at, "\toffset=%lu", value); break;
      case 'g': at += sprintf(at, "\tflags=%lu", value); break;
    }
  }
}

// Copies what a call has written to DATA. Returns where it is there.
static uint64_t keep_bytes(struct thread *t, uint64_t address, uint64_t length) {
  char bytes[1 << 16];
  uint64_t start = data_length;
  while (length) {
    size_t part = copy_from(t->id, address, bytes, length < sizeof bytes ? length : sizeof bytes);
    if (!part || fwrite(bytes, 1, part, data_file) != part) fail("bytes of a write");
    address += part, length -= part, data_length += part;
  }
  return start;
}

// Halves the argument that limits a call. Returns whether the call has one that is above 1.
static int shorten(struct thread *t, struct user_regs_struct *registers) {
  unsigned long long *length;
  switch (t->call->number) {
    case SYS_read: case SYS_write: case SYS_pread64: case SYS_pwrite64: case SYS_readv:
    case SYS_writev: case SYS_preadv: case SYS_pwritev: length = &registers->rdx; break;
    case SYS_copy_file_range: case SYS_splice: length = &registers->r8; break;
    case SYS_sendfile: length = &registers->r10; break;
    case SYS_getrandom: length = &registers->rsi; break;
    default: return 0;
  }
  if (*length < 2) return 0;
  *length /= 2;
  return 1;
}

static void enter(struct thread *t, const struct __ptrace_syscall_info *info, const char *name,
                  uint64_t chosen, const char *action) {
  memcpy(t->arguments, info->entry.args, sizeof t->arguments);
  t->injected = t->error = 0;
  t->number = ++t->call->count;
  describe(t, t->arguments);
  if (t->number != chosen || strcmp(t->call->name, name)) return;
  if (!strcmp(action, "kill")) {
    fprintf(log_file, "%lu\t%s\t0\tkilled%s\n", t->number, t->call->name, t->text);
    kill(t->id, SIGKILL);
    return;
  }
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, t->id, 0, &registers)) fail("registers");
  if (!strcmp(action, "short")) {
    t->injected = shorten(t, &registers);
  } else {
    t->injected = 1;
    t->error = atoi(action);
    registers.orig_rax = (unsigned long long)-1;
  }
  if (ptrace(PTRACE_SETREGS, t->id, 0, &registers)) fail("registers");
}

static void leave(struct thread *t, int64_t result) {
  if (t->error) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, t->id, 0, &registers)) fail("registers");
    result = -t->error;
    registers.rax = (unsigned long long)result;
    if (ptrace(PTRACE_SETREGS, t->id, 0, &registers)) fail("registers");
  }
  fprintf(log_file, "%lu\t%s\t%ld\t%s%s", t->number, t->call->name, result,
          t->injected ? "injected" : "-", t->text);
  int opens = t->call->number == SYS_open || t->call->number == SYS_openat;
  if (opens && result >= 0) {
    char text[2 * PATH_MAX], *at = text;
    describe_descriptor(t, &at, "new", (int)result);
    fputs(text, log_file);
  }
  int writes = t->call->number == SYS_write || t->call->number == SYS_pwrite64;
  if (writes && result > 0 && data_file)
    fprintf(log_file, "\tdata=%lu", keep_bytes(t, t->arguments[1], (uint64_t)result));
  fputc('\n', log_file);
}

int main(int argc, char **argv) {
  if (argc < 7) return 125;
  log_file = fopen(argv[1], "we");
  data_file = strcmp(argv[2], "-") ? fopen(argv[2], "we") : NULL;
  uint64_t chosen = strtoull(argv[4], NULL, 10);
  if (!log_file) fail(argv[1]);
  // Whole lines are there when the caller ends a run that hangs.
  setvbuf(log_file, NULL, _IOLBF, 1 << 16);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (!child) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0)) refused("PTRACE_TRACEME");
    raise(SIGSTOP);
    execvp(argv[6], argv + 6);
    fail(argv[6]);
  }
  int status, is_counting = 0, end = 125;
  if (waitpid(child, &status, 0) != child) fail("wait");
  if (!WIFSTOPPED(status)) return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, 0, options)) {
    kill(child, SIGKILL);
    refused("PTRACE_SETOPTIONS");
  }
  if (ptrace(PTRACE_SYSCALL, child, 0, 0)) refused("PTRACE_SYSCALL");
  for (pid_t id; (id = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (id == child) end = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      forget(id);
      continue;
    }
    if (!WIFSTOPPED(status)) continue;
    int signal = WSTOPSIG(status), passed = 0;
    if (signal == (SIGTRAP | 0x80)) {
      struct __ptrace_syscall_info info;
      if (ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) > 0) {
        struct thread *t = thread_of(id);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
          if (info.entry.nr == SYS_poll) is_counting = 1;
          t->call = is_counting ? find(info.entry.nr) : NULL;
          if (t->call) enter(t, &info, argv[3], chosen, argv[5]);
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->call) {
          leave(t, info.exit.rval);
          t->call = NULL;
        }
      } else if (errno != ESRCH) {  // ESRCH: the thread was killed meanwhile.
        refused("PTRACE_GET_SYSCALL_INFO");
      }
    } else if (status >> 16 == 0 && signal != SIGTRAP && signal != SIGSTOP) {
      passed = signal;
    }
    ptrace(PTRACE_SYSCALL, id, 0, passed);
  }
  fclose(log_file);
  if (data_file && fclose(data_file)) fail(argv[2]);
  return end;
}
