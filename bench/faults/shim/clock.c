// Preloaded into a server, it adds what the file named by SHARDBUS_CLOCK holds, a 64-bit number of microseconds in the
// machine's byte order, to every answer about the time of day.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t zero;
static volatile int64_t *offset = &zero;
static int (*next)(clockid_t, struct timespec *);

__attribute__((constructor)) static void load(void) {
	const char *path = getenv("SHARDBUS_CLOCK");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0) return;
	if (ftruncate(fd, sizeof *offset) == 0) {
		void *page = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
		if (page != MAP_FAILED) offset = page;
	}
	close(fd);
}

int clock_gettime(clockid_t id, struct timespec *t) {
	if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int failed = next(id, t);
	if (failed || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return failed;
	int64_t micros = (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000 + *offset;
	t->tv_sec = micros / 1000000;
	t->tv_nsec = micros % 1000000 * 1000 + t->tv_nsec % 1000;
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	struct timespec now;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t) {
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
	if (t) *t = now.tv_sec;
	return now.tv_sec;
}
