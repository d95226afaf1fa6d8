// SPDX-License-Identifier: GPL-2.0
/* Tasks that wait, spin or die with a lock in their hands. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "faults.h"

static DEFINE_MUTEX(pm_config_mutex);
static DEFINE_MUTEX(pm_left_mutex);
static DEFINE_MUTEX(pm_right_mutex);
static DECLARE_COMPLETION(pm_never);

static PM_FAULT int pm_config_reload(void *unused)
{
	mutex_lock(&pm_config_mutex);
	mutex_unlock(&pm_config_mutex);
	return 0;
}

/* Dies with the mutex in its hands; pm_reloader then waits for it for ever. */
static PM_FAULT void pm_config_apply(struct pm_session *session)
{
	mutex_lock(&pm_config_mutex);
	kthread_run(pm_config_reload, NULL, "pm_reloader");
	msleep(100);
	session->timeout_ms = 10;
	mutex_unlock(&pm_config_mutex);
}

static void oops_locked(void)
{
	struct pm_session *nobody = NULL;

	OPTIMIZER_HIDE_VAR(nobody);
	pm_config_apply(nobody);
}

/* Holds the mutex and sleeps: alive, but everybody else hangs. */
static PM_FAULT void pm_config_hold(void)
{
	mutex_lock(&pm_config_mutex);
	kthread_run(pm_config_reload, NULL, "pm_reloader");
	for (;;)
		msleep_interruptible(1000);
}

/* Waits for something that nobody will complete. */
static PM_FAULT void pm_wait_for_ever(void)
{
	wait_for_completion(&pm_never);
}

static PM_FAULT int pm_take_left_right(void *unused)
{
	mutex_lock(&pm_left_mutex);
	msleep(200);
	mutex_lock(&pm_right_mutex);
	mutex_unlock(&pm_right_mutex);
	mutex_unlock(&pm_left_mutex);
	return 0;
}

static PM_FAULT int pm_take_right_left(void *unused)
{
	mutex_lock(&pm_right_mutex);
	msleep(200);
	mutex_lock(&pm_left_mutex);
	mutex_unlock(&pm_left_mutex);
	mutex_unlock(&pm_right_mutex);
	return 0;
}

static void deadlock(void)
{
	kthread_run(pm_take_left_right, NULL, "pm_left");
	kthread_run(pm_take_right_left, NULL, "pm_right");
}

/* Spins in the kernel with preemption off. */
static PM_FAULT void pm_spin(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

/* Spins in an RCU read-side section. */
static PM_FAULT void pm_spin_in_rcu(void)
{
	rcu_read_lock();
	for (;;)
		cpu_relax();
}

/* Thousands of tasks behind one mutex, until no more can be made. */
static PM_FAULT void pm_crowd(void)
{
	unsigned int count;

	mutex_lock(&pm_config_mutex);
	for (count = 0; count < 20000; count++)
		if (IS_ERR(kthread_run(pm_config_reload, NULL, "pm_waiter/%u", count)))
			break;
	pr_info("pm: %u tasks wait\n", count);
}

const struct pm_fault pm_task_faults[] = {
	{ "oops-locked", oops_locked },
	{ "mutex-held", pm_config_hold },
	{ "wait-for-ever", pm_wait_for_ever },
	{ "deadlock", deadlock },
	{ "spin", pm_spin },
	{ "spin-in-rcu", pm_spin_in_rcu },
	{ "crowd", pm_crowd },
	{ }
};
