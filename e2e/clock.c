/* A clock for whole programs that runs fast while a trading bot sleeps.
 *
 * Loaded before the C library (LD_PRELOAD) into every program of a test: bot, rooms, operator's commands, simulated exchange. None of
 * them is changed; the C library's clocks and waits are what is answered here. All share one page of memory (PORTCULLIS_CLOCK names its
 * file), so all have one time. It runs at the machine's own pace. Where PORTCULLIS_CLOCK_SLEEPER is set, as it is for the bot alone, a
 * sleep of the main thread runs it at that many times the pace until the sleep is almost over: whatever the bot does, signs or waits for an
 * answer to, happens in real time, and only its idleness is short.
 *
 * A wait is cut into slices, since the pace may change within it. Linux with glibc; clocks of processor time are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef int64_t ns;
#define SECOND 1000000000LL
/* No wait is longer than this in one piece. */
#define SLICE 4000000LL
/* The end of each sleep of the bot, at the machine's pace: disks and sockets are as fast as they are, and catch up. */
#define SETTLE (SECOND / 7)
/* No wait is counted in more than this: a century. */
#define FOREVER (3155760000LL * SECOND)

/* Zeroes: the machine's own time. `count` is odd while it is written. */
struct page {
    atomic_ulong count;
    _Atomic ns since; /* the machine's clock when the pace last changed */
    _Atomic ns ahead; /* how far the test's time was ahead then */
    _Atomic ns pace;  /* what is gained in each nanosecond */
};

static struct page still, *page = &still;
static ns pace;

#define REAL(name) ((__typeof__(&name))real(#name, NULL))
#define VERSION(name, version) ((__typeof__(&name))real(#name, version))

static void *real(const char *name, const char *version) {
    void *found = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
    return found ? found : dlsym(RTLD_NEXT, name);
}

static int (*clock_of)(clockid_t, struct timespec *);

static ns of(const struct timespec *t) { return t->tv_sec > FOREVER / SECOND ? FOREVER : t->tv_sec * SECOND + t->tv_nsec; }
static struct timespec to(ns t) { return (struct timespec){t / SECOND, t % SECOND}; }

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("PORTCULLIS_CLOCK"), *sleeper = getenv("PORTCULLIS_CLOCK_SLEEPER");
    if (sleeper) pace = atol(sleeper) - 1;
    if (!file) return;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof still, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    close(fd);
    page = at;
}

static ns machine(clockid_t clock) {
    if (!clock_of) clock_of = REAL(clock_gettime);
    struct timespec now;
    clock_of(clock, &now);
    return of(&now);
}

static ns ahead_at(ns now) {
    for (;;) {
        unsigned long count = atomic_load(&page->count);
        ns since = page->since, ahead = page->ahead, gain = page->pace;
        if (count % 2 == 0 && atomic_load(&page->count) == count) return ahead + (now > since ? now - since : 0) * gain;
    }
}

static void set_pace(ns gain) {
    ns now = machine(CLOCK_MONOTONIC), ahead = ahead_at(now);
    atomic_fetch_add(&page->count, 1);
    page->since = now;
    page->ahead = ahead;
    page->pace = gain;
    atomic_fetch_add(&page->count, 1);
}

static int is_wall(clockid_t clock) {
    return clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID && clock >= 0;
}

static ns now_of(clockid_t clock) { return machine(clock) + ahead_at(machine(CLOCK_MONOTONIC)); }
static ns now(void) { return now_of(CLOCK_MONOTONIC); }
static ns after(ns wait) { return now() + (wait < FOREVER ? wait : FOREVER); }
/* How long the machine may sleep at once for what is left of a wait. */
static ns slice(ns left) {
    ns wait = left / (1 + page->pace);
    return wait < SLICE ? wait : SLICE;
}
/* The same, in whole milliseconds. */
static int slice_ms(ns left) { return (int)((slice(left) + 999999) / 1000000); }

/* Clocks */

int clock_gettime(clockid_t clock, struct timespec *into) {
    if (!clock_of) clock_of = REAL(clock_gettime);
    int failed = clock_of(clock, into);
    if (!failed && is_wall(clock)) *into = to(of(into) + ahead_at(machine(CLOCK_MONOTONIC)));
    return failed;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    (void)zone;
    ns t = now_of(CLOCK_REALTIME);
    *into = (struct timeval){t / SECOND, t % SECOND / 1000};
    return 0;
}

time_t time(time_t *into) {
    time_t t = now_of(CLOCK_REALTIME) / SECOND;
    if (into) *into = t;
    return t;
}

/* Sleeps */

static int sleep_until(ns end) {
    ns left = end - now();
    int is_fast = pace && left > SETTLE && gettid() == getpid();
    int interrupted = 0;
    if (is_fast) set_pace(pace);
    while (!interrupted && (left = end - now()) > 0) {
        if (is_fast && left <= SETTLE) set_pace(is_fast = 0);
        struct timespec wait = to(slice(is_fast ? left - SETTLE : left) + 1);
        interrupted = REAL(clock_nanosleep)(CLOCK_MONOTONIC, 0, &wait, NULL);
    }
    if (is_fast) set_pace(0);
    return interrupted;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked, struct timespec *rest) {
    ns end = flags & TIMER_ABSTIME ? now() + of(asked) - now_of(clock) : after(of(asked));
    int failed = sleep_until(end);
    if (failed && rest && !(flags & TIMER_ABSTIME)) *rest = to(end > now() ? end - now() : 0);
    return failed;
}

int nanosleep(const struct timespec *asked, struct timespec *rest) {
    int failed = clock_nanosleep(CLOCK_MONOTONIC, 0, asked, rest);
    errno = failed ? failed : errno;
    return failed ? -1 : 0;
}

int usleep(useconds_t us) {
    struct timespec wait = to(us * 1000LL);
    return nanosleep(&wait, NULL);
}

unsigned sleep(unsigned seconds) {
    struct timespec wait = to(seconds * SECOND), rest = {0};
    return nanosleep(&wait, &rest) ? (unsigned)rest.tv_sec : 0;
}

/* Waits for descriptors */

#define SLICED(wait_ms, call)                                            \
    do {                                                                 \
        ns end = after((wait_ms) * 1000000LL), left;                     \
        int ready;                                                       \
        do {                                                             \
            left = end - now();                                          \
            int ms = left > 0 ? slice_ms(left) : 0;                      \
            ready = (call);                                              \
        } while (ready == 0 && left > 0);                                \
        return ready;                                                    \
    } while (0)

int epoll_wait(int fd, struct epoll_event *into, int room, int wait) {
    __typeof__(&epoll_wait) original = REAL(epoll_wait);
    if (wait <= 0) return original(fd, into, room, wait);
    SLICED(wait, original(fd, into, room, ms));
}

int epoll_pwait(int fd, struct epoll_event *into, int room, int wait, const sigset_t *mask) {
    __typeof__(&epoll_pwait) original = REAL(epoll_pwait);
    if (wait <= 0) return original(fd, into, room, wait, mask);
    SLICED(wait, original(fd, into, room, ms, mask));
}

int poll(struct pollfd *fds, nfds_t count, int wait) {
    __typeof__(&poll) original = REAL(poll);
    if (wait <= 0) return original(fds, count, wait);
    SLICED(wait, original(fds, count, ms));
}

int select(int count, fd_set *restrict read, fd_set *restrict write, fd_set *restrict except, struct timeval *restrict wait) {
    __typeof__(&select) original = REAL(select);
    if (!wait || (!wait->tv_sec && !wait->tv_usec)) return original(count, read, write, except, wait);
    fd_set sets[3], *given[3] = {read, write, except}, *used[3];
    ns end = after(wait->tv_sec * SECOND + wait->tv_usec * 1000), left;
    int ready;
    do {
        for (int i = 0; i < 3; i++)
            if ((used[i] = given[i] ? &sets[i] : NULL)) sets[i] = *given[i];
        left = end - now();
        struct timeval part = {0, left > 0 ? slice(left) / 1000 + 1 : 0};
        ready = original(count, used[0], used[1], used[2], &part);
    } while (ready == 0 && left > 0);
    for (int i = 0; i < 3; i++)
        if (given[i] && ready >= 0) *given[i] = sets[i];
    return ready;
}

/* May fire early: who has one looks at the clock. */
int timerfd_settime(int fd, int flags, const struct itimerspec *asked, struct itimerspec *old) {
    __typeof__(&timerfd_settime) original = REAL(timerfd_settime);
    ns value = of(&asked->it_value);
    if (value == 0) return original(fd, flags, asked, old);
    ns left = flags & TFD_TIMER_ABSTIME ? value - now() : value;
    struct itimerspec part = {.it_value = to((left > 0 ? slice(left) : 0) + 1)};
    return original(fd, 0, &part, old);
}

/* Waits for other threads */

/* Of which clock an end is, its size says: no machine is up for thirty years. */
static ns left_until(const struct timespec *end) { return of(end) - (end->tv_sec > 1000000000 ? now_of(CLOCK_REALTIME) : now()); }

/* A condition that is waited for in slices would miss who signals between two: a slice that is not the last one ends as a wake-up without
 * cause, which every caller has to expect. */
static int cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *end) {
    int (*original)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *) = VERSION(pthread_cond_clockwait, NULL);
    ns left = left_until(end), wait = left > 0 ? left / (1 + page->pace) : 0;
    struct timespec part = to(machine(CLOCK_MONOTONIC) + (wait < 5 * SLICE ? wait : SLICE));
    int said = original(cond, mutex, CLOCK_MONOTONIC, &part);
    return said == ETIMEDOUT && left_until(end) > 0 ? 0 : said;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict end) {
    return cond_wait(cond, mutex, end);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock, const struct timespec *restrict end) {
    (void)clock;
    return cond_wait(cond, mutex, end);
}

int sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict end) {
    (void)clock;
    int said;
    ns left;
    do {
        left = left_until(end);
        struct timespec part = to(machine(CLOCK_MONOTONIC) + (left > 0 ? slice(left) : 0));
        said = REAL(sem_clockwait)(sem, CLOCK_MONOTONIC, &part);
    } while (said && errno == ETIMEDOUT && left > 0);
    return said;
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict end) { return sem_clockwait(sem, CLOCK_REALTIME, end); }

/* Rust's standard library waits for a futex itself. */
long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    long (*original)(long, ...) = REAL(syscall);
    int act = (int)a[1] & FUTEX_CMD_MASK;
    if (number != SYS_futex || !a[3] || (act != FUTEX_WAIT && act != FUTEX_WAIT_BITSET)) return original(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const struct timespec *asked = (const struct timespec *)a[3];
    ns end = act == FUTEX_WAIT ? after(of(asked)) : now() + left_until(asked), left;
    long said;
    do {
        left = end - now();
        struct timespec part = to(left > 0 ? slice(left) + 1 : 0);
        said = original(number, a[0], (a[1] & ~(long)(FUTEX_CMD_MASK | FUTEX_CLOCK_REALTIME)) | FUTEX_WAIT, a[2], &part, NULL, 0);
    } while (said && errno == ETIMEDOUT && left > 0);
    return said;
}
