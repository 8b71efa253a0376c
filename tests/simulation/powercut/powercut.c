/* A disk that forgets: what a process below ALTHING_POWERCUT_PREFIX has not fsynced does not survive a power cut.
 *
 * Preloaded into a process, this library keeps under ALTHING_POWERCUT_SHADOW what would be on the disk if the power
 * failed now. Nothing is derived from writes and renames as they happen; everything from what is made durable:
 *
 *   fsync, fdatasync, msync   the file's bytes at that moment become shadow/files/<id>;
 *   fsync of a directory      its list of names at that moment becomes shadow/folders/<id>;
 *   write to O_DSYNC, O_SYNC  the bytes just written, and only they, go to shadow/files/<id>;
 *   sync_file_range           nothing: it promises nothing.
 *
 * So a write, rename, link, truncation or deletion that this library does not know of cannot become durable by mistake;
 * what it could miss (an fsync by a bare system call) would only make the disk forget more. <id> is inode number and
 * birth time, so a new file in an old inode is another file. One lock over all processes keeps the shadow in order.
 *
 * The real fsync is left out: nothing but this library decides what survives, and tests run faster. With
 * ALTHING_POWERCUT_FULL naming a file that exists, writes below the prefix fail with ENOSPC for as long as it does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char prefix[PATH_MAX], shadow[PATH_MAX], full[PATH_MAX];
static size_t prefix_bytes;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void from_environment(char *to, const char *name) {
    const char *value = getenv(name);
    if (value != NULL && strlen(value) < PATH_MAX - 64) strcpy(to, value);
}

static void begin(void) {
    from_environment(prefix, "ALTHING_POWERCUT_PREFIX");
    from_environment(shadow, "ALTHING_POWERCUT_SHADOW");
    from_environment(full, "ALTHING_POWERCUT_FULL");
    prefix_bytes = strlen(prefix);
}

static void die(const char *what) {
    dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

/* Is the file of this descriptor below the prefix? Deleted files still are. */
static int inside(int fd) {
    char link[64], path[PATH_MAX];
    pthread_once(&once, begin);
    if (!prefix_bytes) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < (ssize_t)prefix_bytes) return 0;
    path[n] = 0;
    return !memcmp(path, prefix, prefix_bytes) && (path[prefix_bytes] == '/' || path[prefix_bytes] == 0);
}

static int no_room(int fd) {
    pthread_once(&once, begin);
    return full[0] && syscall(SYS_faccessat, AT_FDCWD, full, F_OK) == 0 && inside(fd);
}

/* Identity of a file: inode and birth time. */
static int identify(int fd, const char *name, char id[64], mode_t *mode, uint64_t *inode) {
    struct statx s;
    int flags = *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    if (statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &s) != 0) return -1;
    if (!(s.stx_mask & STATX_BTIME)) {
        dprintf(2, "powercut: this file system keeps no birth times\n");
        abort();
    }
    snprintf(id, 64, "%llu-%lld-%u", (unsigned long long)s.stx_ino, (long long)s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
    *mode = s.stx_mode;
    *inode = s.stx_ino;
    return 0;
}

static int lock(void) {
    char path[PATH_MAX + 64];
    pthread_mutex_lock(&mutex);
    snprintf(path, sizeof path, "%s/lock", shadow);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) die(path);
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) die("lock");
    return fd;
}

static void unlock(int fd) {
    close(fd);
    pthread_mutex_unlock(&mutex);
}

static void put(int to, const char *data, size_t size, off_t at) {
    while (size) {
        ssize_t n = syscall(SYS_pwrite64, to, data, size, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("shadow");
        data += n, size -= n, at += n;
    }
}

/* Bytes from..end of one file to the same place of another. */
static void copy(int from, int to, off_t at, off_t end) {
    static char buffer[1 << 20]; /* under the lock */
    while (at < end) {
        size_t wanted = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t n = pread(from, buffer, wanted, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) die("read");
        if (n == 0) return; /* shorter meanwhile */
        put(to, buffer, n, at);
        at += n;
    }
}

static int open_shadow(const char *id) {
    char path[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/files/%s", shadow, id);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) die(path);
    return fd;
}

static int reopen(int fd, int flags) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = (int)syscall(SYS_openat, AT_FDCWD, link, flags | O_CLOEXEC, 0);
    if (again < 0) die(link);
    return again;
}

static void file_durable(int fd, const char *id) {
    int from = reopen(fd, O_RDONLY), to = open_shadow(id);
    struct stat s;
    if (fstat(from, &s) != 0) die("fstat");
    if (ftruncate64(to, s.st_size) != 0) die("ftruncate");
    off_t at = 0;
    while (at < s.st_size) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) data = s.st_size;
        if (data > at) syscall(SYS_fallocate, to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, data - at);
        if (data >= s.st_size) break;
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0) hole = s.st_size;
        copy(from, to, data, hole);
        at = hole;
    }
    close(from);
    close(to);
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char kind;
    char name[];
};

/* The names of a directory, all of one moment: one call reads them under the directory's own lock. */
static void folder_durable(int fd, const char *id) {
    static char names[1 << 20], list[1 << 21]; /* under the lock */
    char path[PATH_MAX + 128], temporary[PATH_MAX + 160], entry_id[64];
    mode_t mode;
    uint64_t inode;
    size_t size;
again:
    size = 0;
    int folder = reopen(fd, O_RDONLY | O_DIRECTORY);
    long n = syscall(SYS_getdents64, folder, names, sizeof names);
    if (n < 0) die("getdents64");
    if (n > (long)sizeof names - 512) die("a directory is too large");
    for (long at = 0; at < n;) {
        struct entry *one = (struct entry *)(names + at);
        at += one->length;
        if (!strcmp(one->name, ".") || !strcmp(one->name, "..")) continue;
        if (identify(folder, one->name, entry_id, &mode, &inode) != 0 || inode != one->inode) {
            close(folder); /* changed under our eyes */
            goto again;
        }
        char kind = S_ISDIR(mode) ? 'd' : S_ISREG(mode) ? 'f' : 'o';
        size += snprintf(list + size, sizeof list - size, "%c %o %s %s\n", kind, mode & 07777, entry_id, one->name);
        if (size > sizeof list - 1024) die("a directory is too large");
    }
    close(folder);
    snprintf(path, sizeof path, "%s/folders/%s", shadow, id);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int to = (int)syscall(SYS_openat, AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) die(temporary);
    put(to, list, size, 0);
    close(to);
    if (syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, path, 0) != 0) die(path);
}

static void durable(int fd) {
    char id[64];
    mode_t mode;
    uint64_t inode;
    int saved = errno, held = lock();
    if (identify(fd, "", id, &mode, &inode) != 0) die("statx");
    if (S_ISDIR(mode)) folder_durable(fd, id);
    else if (S_ISREG(mode)) file_durable(fd, id);
    unlock(held);
    errno = saved;
}

int fsync(int fd) {
    if (!inside(fd)) return (int)syscall(SYS_fsync, fd);
    durable(fd);
    return 0;
}

int fdatasync(int fd) {
    if (!inside(fd)) return (int)syscall(SYS_fdatasync, fd);
    durable(fd);
    return 0;
}

/* Which file lies there is not known here, and nothing of ours needs it: say so instead of guessing. */
int msync(void *at, size_t size, int flags) {
    pthread_once(&once, begin);
    if (prefix_bytes && (flags & MS_SYNC)) {
        char line[PATH_MAX + 128];
        FILE *maps = fopen("/proc/self/maps", "r");
        while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
            unsigned long from, to;
            char *path = strchr(line, '/');
            if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (unsigned long)at >= from && (unsigned long)at < to &&
                path != NULL && !strncmp(path, prefix, prefix_bytes)) {
                path[strcspn(path, "\n")] = 0;
                int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
                if (fd >= 0) durable(fd), close(fd);
            }
        }
        if (maps != NULL) fclose(maps);
    }
    return (int)syscall(SYS_msync, at, size, flags);
}

static ssize_t written(int fd, ssize_t n, off_t at) {
    if (n <= 0) return n;
    int saved = errno, flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_DSYNC) && inside(fd)) {
        char id[64];
        mode_t mode;
        uint64_t inode;
        int held = lock();
        if (at < 0) at = lseek(fd, 0, SEEK_CUR) - n;
        if (identify(fd, "", id, &mode, &inode) != 0) die("statx");
        int from = reopen(fd, O_RDONLY), to = open_shadow(id);
        copy(from, to, at, at + n);
        close(from);
        close(to);
        unlock(held);
    }
    errno = saved;
    return n;
}

#define ROOM(fd)                                  \
    do {                                          \
        if (no_room(fd)) {                        \
            errno = ENOSPC;                       \
            return -1;                            \
        }                                         \
    } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    ROOM(fd);
    return written(fd, syscall(SYS_write, fd, data, size), -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ROOM(fd);
    return written(fd, syscall(SYS_writev, fd, parts, count), -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    ROOM(fd);
    return written(fd, syscall(SYS_pwrite64, fd, data, size, at), at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    ROOM(fd);
    return written(fd, syscall(SYS_pwritev, fd, parts, count, at, 0), at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return pwritev(fd, parts, count, at); }

int fallocate(int fd, int mode, off_t at, off_t size) {
    ROOM(fd);
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }

int posix_fallocate(int fd, off_t at, off_t size) {
    if (no_room(fd)) return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, at, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

/* For the test, which loads this library by itself: note one file or directory as durable in a shadow of its choice. */
int powercut_record(const char *path, const char *into) {
    pthread_once(&once, begin);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    strcpy(shadow, into);
    durable(fd);
    close(fd);
    return 0;
}

/* The identity under which the shadow keeps a path. */
int powercut_identity(const char *path, char id[64]) {
    mode_t mode;
    uint64_t inode;
    return identify(AT_FDCWD, path, id, &mode, &inode);
}
