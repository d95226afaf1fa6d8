// SPDX-License-Identifier: GPL-2.0
/* Functions that are not on the stack: their last call is a jump (see Kbuild). */
#include "faults.h"

static DEFINE_MUTEX(pm_ledger_mutex);

static PM_FAULT int pm_ledger_write(void)
{
	mutex_lock(&pm_ledger_mutex);
	mutex_unlock(&pm_ledger_mutex);
	return 1;
}

/* Forgets to give the mutex back, and jumps to what takes it again. */
static PM_FAULT int pm_ledger_open(void)
{
	mutex_lock(&pm_ledger_mutex);
	return pm_ledger_write();
}

static void tail_deadlock(void)
{
	int written = pm_ledger_open();

	OPTIMIZER_HIDE_VAR(written);
}

const struct pm_fault pm_tails_faults[] = {
	{ "tail-deadlock", tail_deadlock },
	{ }
};
