// SPDX-License-Identifier: GPL-2.0
/*
 * A voice for faults that leave nobody able to speak. The timer fires in the
 * hard interrupt: an ordinary one fires in a softirq, which is left to ksoftirqd
 * when that has been woken, and on a CPU that spins ksoftirqd never runs.
 */
#include <linux/hrtimer.h>
#include <linux/printk.h>
#include <linux/smp.h>
#include <linux/version.h>

#include "stuck.h"

#define PM_STUCK_MS 14000

static struct hrtimer pm_stuck_timer;

static enum hrtimer_restart pm_say_stuck(struct hrtimer *timer)
{
	pr_emerg("pm: stuck\n");
	return HRTIMER_NORESTART;
}

static void pm_start_timer(void *unused)
{
	hrtimer_start(&pm_stuck_timer, ms_to_ktime(PM_STUCK_MS),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

void pm_announce(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&pm_stuck_timer, pm_say_stuck, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
#else
	hrtimer_init(&pm_stuck_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	pm_stuck_timer.function = pm_say_stuck;
#endif
	smp_call_function_single(0, pm_start_timer, NULL, 1);
}
