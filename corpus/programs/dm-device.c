// SPDX-License-Identifier: GPL-2.0
/*
 * Device mapper without dmsetup.
 *
 *	dm-device create NAME /dev/DISK		a linear device over the whole disk
 *	dm-device suspend NAME			holds back all I/O, does not freeze the file system
 */
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static union {
	struct dm_ioctl command;
	char room[4096];
} io;

static void dm(int control, unsigned long request, const char *name, unsigned int flags)
{
	io.command.version[0] = DM_VERSION_MAJOR;
	io.command.data_size = sizeof(io);
	io.command.data_start = sizeof(io.command);
	io.command.flags = flags;
	snprintf(io.command.name, sizeof(io.command.name), "%s", name);
	if (ioctl(control, request, &io)) {
		perror(name);
		exit(1);
	}
}

static void create(int control, const char *name, const char *disk)
{
	struct dm_target_spec *target = (void *)(io.room + sizeof(io.command));
	unsigned long long bytes = 0;
	int fd = open(disk, O_RDWR);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes)) {
		perror(disk);
		exit(1);
	}
	close(fd);
	dm(control, DM_DEV_CREATE, name, 0);
	memset(&io, 0, sizeof(io));
	target->length = bytes / 512;
	strcpy(target->target_type, "linear");
	snprintf((char *)(target + 1), 64, "%s 0", disk);
	io.command.target_count = 1;
	dm(control, DM_TABLE_LOAD, name, 0);
	memset(&io, 0, sizeof(io));
	dm(control, DM_DEV_SUSPEND, name, 0);	/* without the flag it resumes */
}

int main(int argc, char **argv)
{
	int control = open("/dev/mapper/control", O_RDWR);

	if (control < 0)
		control = open("/dev/device-mapper", O_RDWR);
	if (control < 0 || argc < 3)
		return 1;
	if (!strcmp(argv[1], "create") && argc == 4)
		create(control, argv[2], argv[3]);
	else if (!strcmp(argv[1], "suspend"))
		dm(control, DM_DEV_SUSPEND, argv[2], DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
	else
		return 1;
	return 0;
}
