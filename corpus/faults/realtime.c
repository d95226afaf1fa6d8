// SPDX-License-Identifier: GPL-2.0
/* Gives who asks a real-time policy: the guest has no chrt. */
#include <linux/sched.h>

#include "faults.h"

static void be_realtime(void)
{
	sched_set_fifo(current);
}

const struct pm_fault pm_realtime_faults[] = {
	{ "be-realtime", be_realtime },
	{ }
};
