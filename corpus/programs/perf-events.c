// SPDX-License-Identifier: GPL-2.0
/*
 * Counts and samples with perf_event_open(), as perf does, and leaves all of it open: the
 * buffers are printed but not consumed.
 *
 *	perf-events TRACEPOINT		the number in events/SYSTEM/NAME/id
 *
 * Lines: "event TYPE CONFIG CPU ID COUNT ENABLED RUNNING" of each event, "buffer NAME HEAD",
 * and of each sample in it "sample ID PID TID TIME CPU IP PERIOD"; "pm: told" at the end.
 */
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 16
#define SAMPLED (PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | \
		 PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD)

struct sample {
	struct perf_event_header header;
	unsigned long long id, ip;
	unsigned int pid, tid;
	unsigned long long time;
	unsigned int cpu, reserved;
	unsigned long long period;
};

static struct opened {
	int fd, cpu;
	struct perf_event_attr attr;
} opened[16];
static int events;

static int event(unsigned int type, unsigned long long config, int pid, int cpu,
		 unsigned long long period, int backward)
{
	struct opened *new = &opened[events];
	struct perf_event_attr *attr = &new->attr;

	attr->size = sizeof(*attr);
	attr->type = type;
	attr->config = config;
	attr->sample_period = period;
	attr->sample_type = SAMPLED;
	attr->read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING |
			    PERF_FORMAT_ID;
	attr->sample_id_all = attr->comm = attr->task = 1;
	attr->inherit = pid >= 0 && !period;
	attr->write_backward = backward;
	new->cpu = cpu;
	new->fd = syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (new->fd < 0) {
		perror("perf_event_open");
		exit(1);
	}
	events++;
	return new->fd;
}

static struct perf_event_mmap_page *buffer(int fd, int protection)
{
	void *found = mmap(NULL, (PAGES + 1) * 4096, protection, MAP_SHARED, fd, 0);

	if (found == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return found;
}

static void byte_copy(void *to, const char *data, unsigned long long from, int bytes)
{
	for (int i = 0; i < bytes; i++)
		((char *)to)[i] = data[(from + i) % (PAGES * 4096)];
}

static void tell(const char *name, struct perf_event_mmap_page *page)
{
	const char *data = (char *)page + 4096;
	unsigned long long at = page->data_tail, left = page->data_head - at;
	struct sample sample;

	printf("buffer %s %llu\n", name, page->data_head);
	if (!strcmp(name, "backward")) {	/* the newest record comes first */
		at = page->data_head;
		left = PAGES * 4096;
	}
	while (left >= sizeof(sample.header)) {
		byte_copy(&sample.header, data, at, sizeof(sample.header));
		if (!sample.header.size || sample.header.size > left)
			break;
		if (sample.header.type == PERF_RECORD_SAMPLE) {
			byte_copy(&sample, data, at, sizeof(sample));
			printf("sample %llu %u %u %llu %u %llx %llu\n", sample.id, sample.pid,
			       sample.tid, sample.time, sample.cpu, sample.ip, sample.period);
		}
		at += sample.header.size;
		left -= sample.header.size;
	}
}

static void work(double seconds)
{
	struct timespec begin, now, nap = { .tv_nsec = 3000000 };
	volatile unsigned long spin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		free(malloc(1 << 20));
		for (spin = 0; spin < 300000; spin++)
			;
		nanosleep(&nap, NULL);
		if (fork() == 0)
			_exit(0);
		wait(NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec + (now.tv_nsec - begin.tv_nsec) / 1e9 < seconds);
}

int main(int argc, char **argv)
{
	struct perf_event_mmap_page *first, *second, *backward;
	int leader, fd;
	struct { unsigned long long count, enabled, running, id; } values;

	if (argc < 2)
		return 1;
	leader = event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, -1, 0, 10000000, 0);
	first = buffer(leader, PROT_READ | PROT_WRITE);
	fd = event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, -1, 1, 10000000, 0);
	second = buffer(fd, PROT_READ | PROT_WRITE);
	fd = event(PERF_TYPE_TRACEPOINT, atoi(argv[1]), -1, 0, 5, 0);
	if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, leader))
		perror("output");
	fd = event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, -1, 0, 3000000, 1);
	backward = buffer(fd, PROT_READ);
	event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, 0, -1, 0, 0);
	event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES, 0, -1, 0, 0);
	event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, 0, -1, 0, 0);
	work(2);
	for (int i = 0; i < events; i++)
		ioctl(opened[i].fd, PERF_EVENT_IOC_DISABLE, 0);
	for (int i = 0; i < events; i++) {
		if (read(opened[i].fd, &values, sizeof(values)) != sizeof(values))
			perror("read");
		printf("event %u %llu %d %llu %llu %llu %llu\n", opened[i].attr.type,
		       (unsigned long long)opened[i].attr.config, opened[i].cpu, values.id,
		       values.count, values.enabled, values.running);
	}
	tell("first", first);
	tell("second", second);
	tell("backward", backward);
	printf("pm-truth: end\npm: told\n");
	fflush(stdout);
	for (;;)
		pause();
}
