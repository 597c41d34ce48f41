/* Preloaded: no connection is accepted while the file that ACCEPT_FAILS names holds anything but zero; it is the error number. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static long none;
static volatile long *failure = &none;

__attribute__((constructor)) static void open_failure(void) {
  const char *path = getenv("ACCEPT_FAILS");
  int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) failure = page;
  close(fd);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
  if (*failure != 0) {
    errno = (int)*failure;
    return -1;
  }
  return syscall(SYS_accept4, fd, address, length, flags);
}

/* What is looked up in the C library is looked up here first. */
void *dlopen(const char *name, int flags) {
  void *(*next)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
  return next(name != NULL && strcmp(name, "libc.so.6") == 0 ? NULL : name, flags);
}
