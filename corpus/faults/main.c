// SPDX-License-Identifier: GPL-2.0
/* The trigger: write the name of a fault to /proc/pm_fault; reading lists them. */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "faults.h"

/* Each is terminated by an entry without a name. */
extern const struct pm_fault pm_memory_faults[];
extern const struct pm_fault pm_slab_faults[];
extern const struct pm_fault pm_control_faults[];
extern const struct pm_fault pm_context_faults[];
extern const struct pm_fault pm_task_faults[];
extern const struct pm_fault pm_lock_faults[];
extern const struct pm_fault pm_lockup_faults[];
extern const struct pm_fault pm_realtime_faults[];
extern const struct pm_fault pm_nested_faults[];
extern const struct pm_fault pm_tails_faults[];
extern const struct pm_fault pm_probe_faults[];

static const struct pm_fault *const families[] = {
	pm_memory_faults, pm_slab_faults, pm_control_faults,
	pm_context_faults, pm_task_faults, pm_lock_faults,
	pm_lockup_faults, pm_realtime_faults, pm_nested_faults, pm_tails_faults,
	pm_probe_faults,
};

static const struct pm_fault *pm_fault_find(const char *name)
{
	const struct pm_fault *fault;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(families); i++)
		for (fault = families[i]; fault->name; fault++)
			if (sysfs_streq(fault->name, name))
				return fault;
	return NULL;
}

static ssize_t pm_fault_write(struct file *file, const char __user *text,
			      size_t size, loff_t *position)
{
	const struct pm_fault *fault;
	char name[64] = "";

	if (size >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, text, size))
		return -EFAULT;
	fault = pm_fault_find(name);
	if (!fault)
		return -ENOENT;
	fault->run();
	return size;
}

static int pm_fault_show(struct seq_file *out, void *unused)
{
	const struct pm_fault *fault;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(families); i++)
		for (fault = families[i]; fault->name; fault++)
			seq_printf(out, "%s\n", fault->name);
	return 0;
}

static int pm_fault_open(struct inode *inode, struct file *file)
{
	return single_open(file, pm_fault_show, NULL);
}

static const struct proc_ops pm_fault_ops = {
	.proc_open = pm_fault_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = pm_fault_write,
};

static int __init pm_fault_init(void)
{
	int error = pm_slab_init();

	if (error)
		return error;
	if (!proc_create("pm_fault", 0600, NULL, &pm_fault_ops)) {
		pm_slab_exit();
		return -ENOMEM;
	}
	return 0;
}

static void __exit pm_fault_exit(void)
{
	remove_proc_entry("pm_fault", NULL);
	pm_slab_exit();
}

module_init(pm_fault_init);
module_exit(pm_fault_exit);
MODULE_DESCRIPTION("Breaks the kernel on request, for the corpus of postmortem");
MODULE_LICENSE("GPL");
