/* Let the k-th file operation under a folder fail, as a full, broken or forbidden disk does.

   Preloaded before libc; arm() says which. Counted are open, mkdir, write, fsync, rename and link.
   What is not there can neither be opened nor need be; what is there need not be made.
   With `partial`, the k-th operation, if it is a write, writes half, and the next one fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static char root[4096];
static long fail_at, count;
static int code, half, starved = -1;
static char failed[64];
static unsigned char tracked[1 << 16];

void arm(const char *folder, long k, int error, int partial) {
    snprintf(root, sizeof root, "%s", folder);
    count = 0; fail_at = k; code = error; half = partial; starved = -1; failed[0] = 0;
}
void disarm(void) { root[0] = 0; }
long counted(void) { return count; }
const char *which(void) { return failed; }

static int ours(const char *path) { return root[0] && path && !strncmp(path, root, strlen(root)); }
static int known(int fd) { return root[0] && fd >= 0 && fd < (1 << 16) && tracked[fd]; }
static int due(const char *name) {
    if (++count != fail_at) return 0;
    snprintf(failed, sizeof failed, "%s", name);
    errno = code;
    return 1;
}
static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < (1 << 16)) tracked[fd] = ours(path);
    return fd;
}

#define OPEN(name) \
int name(const char *path, int flags, ...) { \
    va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list); \
    REAL(int, #name, const char *, int, ...); \
    if (ours(path) && (flags & O_CREAT || !access(path, F_OK)) && due("open")) return -1; \
    return opened(real(path, flags, mode), path); \
}
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
int name(int at, const char *path, int flags, ...) { \
    va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list); \
    REAL(int, #name, int, const char *, int, ...); \
    if (ours(path) && (flags & O_CREAT || !access(path, F_OK)) && due("open")) return -1; \
    return opened(real(at, path, flags, mode), path); \
}
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!known(fd)) return real(fd, data, size);
    if (fd == starved) { errno = code; return -1; }
    if (due("write")) {
        if (!half || size < 2) return -1;
        snprintf(failed, sizeof failed, "short write");
        starved = fd;
        return real(fd, data, size / 2);
    }
    return real(fd, data, size);
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    return known(fd) && due("fsync") ? -1 : real(fd);
}
int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < (1 << 16)) tracked[fd] = 0;
    if (fd == starved) starved = -1;
    return real(fd);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return ours(path) && access(path, F_OK) && due("mkdir") ? -1 : real(path, mode);
}
int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    return ours(new) && due("rename") ? -1 : real(old, new);
}
int link(const char *old, const char *new) {
    REAL(int, "link", const char *, const char *);
    return ours(new) && due("link") ? -1 : real(old, new);
}
int linkat(int a, const char *old, int b, const char *new, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    return ours(new) && due("link") ? -1 : real(a, old, b, new, flags);
}
