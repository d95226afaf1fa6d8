// SPDX-License-Identifier: GPL-2.0
/* The same NULL dereference in each context that kernel code runs in. */
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include "faults.h"

static struct pm_session *pm_nobody;

/* Long enough for whatever was started to have broken the machine. */
static void pm_await(void)
{
	msleep(5000);
}

static PM_FAULT void pm_timer_expired(struct timer_list *timer)
{
	WRITE_ONCE(pm_nobody->timeout_ms, 0);
}

static DEFINE_TIMER(pm_timer, pm_timer_expired);

static void fault_in_timer(void)
{
	mod_timer(&pm_timer, jiffies + HZ / 20);
	pm_await();
}

static PM_FAULT void pm_tasklet_drain(struct tasklet_struct *tasklet)
{
	WRITE_ONCE(pm_nobody->bytes_received, 0);
}

static DECLARE_TASKLET(pm_tasklet, pm_tasklet_drain);

static void fault_in_softirq(void)
{
	tasklet_schedule(&pm_tasklet);
	pm_await();
}

static PM_FAULT void pm_irq_complete(struct irq_work *work)
{
	WRITE_ONCE(pm_nobody->peer, NULL);
}

static struct irq_work pm_irq_work;

static void fault_in_irq(void)
{
	init_irq_work(&pm_irq_work, pm_irq_complete);
	irq_work_queue(&pm_irq_work);
	pm_await();
}

static PM_FAULT enum hrtimer_restart pm_hrtimer_tick(struct hrtimer *timer)
{
	WRITE_ONCE(pm_nobody->id, 1);
	return HRTIMER_NORESTART;
}

static struct hrtimer pm_hrtimer;

static void fault_in_hrtimer(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&pm_hrtimer, pm_hrtimer_tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&pm_hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	pm_hrtimer.function = pm_hrtimer_tick;
#endif
	hrtimer_start(&pm_hrtimer, ms_to_ktime(50), HRTIMER_MODE_REL);
	pm_await();
}

static PM_FAULT void pm_work_flush(struct work_struct *work)
{
	WRITE_ONCE(pm_nobody->notify, NULL);
}

static DECLARE_WORK(pm_work, pm_work_flush);

static void fault_in_workqueue(void)
{
	struct workqueue_struct *queue = alloc_workqueue("pm_flush", WQ_UNBOUND, 1);

	queue_work(queue, &pm_work);
	pm_await();
}

static PM_FAULT int pm_poller_run(void *unused)
{
	return READ_ONCE(pm_nobody->timeout_ms);
}

static void fault_in_kthread(void)
{
	kthread_run(pm_poller_run, NULL, "pm_poller");
	pm_await();
}

static DEFINE_SPINLOCK(pm_ring_lock);

/* Sleeps while it holds a spinlock with bottom halves off. */
static PM_FAULT void pm_ring_wait_locked(void)
{
	spin_lock_bh(&pm_ring_lock);
	msleep(20);
	spin_unlock_bh(&pm_ring_lock);
}

const struct pm_fault pm_context_faults[] = {
	{ "in-timer", fault_in_timer },
	{ "in-softirq", fault_in_softirq },
	{ "in-irq", fault_in_irq },
	{ "in-hrtimer", fault_in_hrtimer },
	{ "in-workqueue", fault_in_workqueue },
	{ "in-kthread", fault_in_kthread },
	{ "atomic-sleep", pm_ring_wait_locked },
	{ }
};
