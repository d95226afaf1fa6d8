// SPDX-License-Identifier: GPL-2.0
/*
 * Traces a disk as blktrace does, and leaves what the kernel wrote in its relay buffers.
 *
 *	blk-trace NAME			/dev/NAME; a line for each record that lies there
 *
 * Lines: "record FILE SEQUENCE TIME SECTOR BYTES ACTION PID CPU MORE", as read() gives them;
 * "pm: told" at the end. What was read still lies in memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blktrace_api.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BYTES 8192
#define NUMBER 4

static void transfer(int fd, int cpu, int count)
{
	cpu_set_t set;
	void *data = aligned_alloc(4096, 65536);

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	memset(data, 'x', 65536);
	for (int i = 0; i < count; i++) {
		long where = (i * 37 % 1000) * 4096L;

		if (i % 3 == 0)
			pwrite(fd, data, 4096 << i % 4, where);
		else
			pread(fd, data, 4096 << i % 4, where);
		if (i % 10 == 9)
			fdatasync(fd);
	}
	free(data);
}

static void tell(const char *name, int cpu)
{
	static char buffer[BYTES * NUMBER];
	char path[128];
	int fd, got, end = 0;

	snprintf(path, sizeof(path), "/sys/kernel/debug/block/%s/trace%d", name, cpu);
	fd = open(path, O_RDONLY);
	while ((got = read(fd, buffer + end, sizeof(buffer) - end)) > 0)
		end += got;
	if (fd < 0 || got < 0) {
		perror(path);
		return;
	}
	for (int at = 0; at + (int)sizeof(struct blk_io_trace) <= end;) {
		const struct blk_io_trace *r = (void *)(buffer + at);

		printf("record %d %u %llu %llu %u %x %u %u %u\n", cpu, r->sequence,
		       (unsigned long long)r->time, (unsigned long long)r->sector, r->bytes,
		       r->action, r->pid, r->cpu, r->pdu_len);
		at += sizeof(*r) + r->pdu_len;
	}
}

int main(int argc, char **argv)
{
	struct blk_user_trace_setup setup = {
		.act_mask = 0xffff, .buf_size = BYTES, .buf_nr = NUMBER,
	};
	char path[64];
	int fd;

	if (argc < 2)
		return 1;
	snprintf(path, sizeof(path), "/dev/%s", argv[1]);
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKTRACESETUP, &setup) || ioctl(fd, BLKTRACESTART)) {
		perror(path);
		return 1;
	}
	transfer(fd, 0, 40);
	transfer(fd, 1, 300);
	sleep(1);
	tell(argv[1], 0);
	tell(argv[1], 1);
	printf("pm-truth: end\npm: told\n");
	fflush(stdout);
	for (;;)
		pause();
}
