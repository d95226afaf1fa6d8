// SPDX-License-Identifier: GPL-2.0
/*
 * A FUSE file system whose daemon answers the first request and is then stopped.
 *
 *	fuse-stop DIRECTORY	mounts there, forks into the background
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char buffer[1 << 20];
	struct fuse_in_header *in = (void *)buffer;
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} out;
	char options[80];
	int device = open("/dev/fuse", O_RDWR);

	if (argc != 2 || device < 0)
		return 1;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (mount("pm_store", argv[1], "fuse.pm_store", 0, options))
		return 2;
	if (fork())
		return 0;
	if (read(device, buffer, sizeof(buffer)) < (ssize_t)sizeof(*in) || in->opcode != FUSE_INIT)
		return 3;
	memset(&out, 0, sizeof(out));
	out.header.len = sizeof(out);
	out.header.unique = in->unique;
	out.init.major = FUSE_KERNEL_VERSION;
	out.init.minor = FUSE_KERNEL_MINOR_VERSION;
	out.init.max_write = 4096;
	if (write(device, &out, sizeof(out)) != sizeof(out))
		return 4;
	/* Takes the next request and never answers it. */
	if (read(device, buffer, sizeof(buffer)) < 0)
		return 5;
	raise(SIGSTOP);
	return 0;
}
