/*
 * Loads the kernel that takes over when this one crashes.
 * kdump-load KERNEL INITRD ARGUMENTS
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	int kernel, initrd;

	if (count != 4)
		return 2;
	kernel = open(words[1], O_RDONLY);
	initrd = open(words[2], O_RDONLY);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(words[3]) + 1,
		    words[3], KEXEC_FILE_ON_CRASH)) {
		perror("kexec_file_load");
		return 1;
	}
	return 0;
}
