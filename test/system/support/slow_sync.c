/* A slow disk: preloaded, each sync takes as many microseconds longer as the file that SLOW_SYNC names says; its second number is how many of them
   one process had under way at most. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic long none[2];
static _Atomic long *numbers = none;
static _Atomic long under_way;

__attribute__((constructor)) static void open_numbers(void) {
  const char *path = getenv("SLOW_SYNC");
  int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, 2 * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) numbers = page;
  close(fd);
}

static int sync_slowly(long call, int fd) {
  long now = ++under_way;
  long most = numbers[1];
  while (now > most && !atomic_compare_exchange_weak(&numbers[1], &most, now)) continue;
  long delay = numbers[0];
  struct timespec time = {delay / 1000000, delay % 1000000 * 1000};
  nanosleep(&time, NULL);
  int result = syscall(call, fd);
  under_way--;
  return result;
}

int fsync(int fd) { return sync_slowly(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_slowly(SYS_fdatasync, fd); }
