// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs that do not let go: spinning with interrupts off, on a spinlock, in a
 * work item, and those who wait for them.
 *
 * Faults that leave nobody able to speak call pm_announce() first.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "faults.h"
#include "stuck.h"

static DEFINE_SPINLOCK(pm_cache_lock);
static DEFINE_SPINLOCK(pm_index_lock);
static unsigned long pm_cache_hits;

static void pm_start_on(unsigned int cpu, int (*run)(void *), const char *name)
{
	struct task_struct *task = kthread_create(run, NULL, "%s", name);

	if (IS_ERR(task))
		return;
	kthread_bind(task, cpu);
	wake_up_process(task);
	msleep(200);
}

static PM_FAULT void pm_busy(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

static void spin_announced(void)
{
	pm_announce();
	pm_busy();
}

static PM_FAULT void pm_spin_irqs_off(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void spin_irqs_off(void)
{
	pm_announce();
	pm_spin_irqs_off();
}

/* Takes the lock that its caller holds. */
static PM_FAULT void pm_cache_trim(void)
{
	spin_lock(&pm_cache_lock);
	pm_cache_hits = 0;
	spin_unlock(&pm_cache_lock);
}

static PM_FAULT void pm_cache_flush(void)
{
	spin_lock(&pm_cache_lock);
	pm_cache_trim();
	spin_unlock(&pm_cache_lock);
}

static void spinlock_recursive(void)
{
	pm_announce();
	pm_cache_flush();
}

/* Holds the lock and does not come to an end. */
static PM_FAULT int pm_cache_rebuild(void *unused)
{
	spin_lock(&pm_cache_lock);
	while (READ_ONCE(pm_cache_hits) != 42)
		cpu_relax();
	spin_unlock(&pm_cache_lock);
	return 0;
}

static PM_FAULT void pm_cache_lookup(void)
{
	spin_lock(&pm_cache_lock);
	pm_cache_hits++;
	spin_unlock(&pm_cache_lock);
}

static void spinlock_held(void)
{
	pm_announce();
	pm_start_on(0, pm_cache_rebuild, "pm_rebuilder");
	pm_cache_lookup();
}

/* The same, but who waits has its interrupts off. */
static PM_FAULT void pm_cache_account(void)
{
	unsigned long flags;

	spin_lock_irqsave(&pm_cache_lock, flags);
	pm_cache_hits++;
	spin_unlock_irqrestore(&pm_cache_lock, flags);
}

static void spinlock_irqsave(void)
{
	pm_announce();
	pm_start_on(0, pm_cache_rebuild, "pm_rebuilder");
	pm_cache_account();
}

/* Two locks in opposite order. */
static PM_FAULT int pm_lock_cache_index(void *unused)
{
	spin_lock(&pm_cache_lock);
	mdelay(500);
	spin_lock(&pm_index_lock);
	spin_unlock(&pm_index_lock);
	spin_unlock(&pm_cache_lock);
	return 0;
}

static PM_FAULT void pm_lock_index_cache(void)
{
	spin_lock(&pm_index_lock);
	mdelay(500);
	spin_lock(&pm_cache_lock);
	spin_unlock(&pm_cache_lock);
	spin_unlock(&pm_index_lock);
}

static void spinlock_abba(void)
{
	pm_announce();
	pm_start_on(0, pm_lock_cache_index, "pm_indexer");
	pm_lock_index_cache();
}

/* A lock in an object, held by somebody who sleeps with it. */
struct pm_table {
	u64 generation;
	spinlock_t lock;
	u32 entries;
};

static struct pm_table *pm_table;

static PM_FAULT int pm_table_grow(void *table)
{
	struct pm_table *mine = pm_table;

	spin_lock(&mine->lock);
	while (!READ_ONCE(mine->entries))
		cpu_relax();
	spin_unlock(&mine->lock);
	return 0;
}

static PM_FAULT void pm_table_insert(struct pm_table *table)
{
	spin_lock(&table->lock);
	table->entries++;
	spin_unlock(&table->lock);
}

static void spinlock_in_object(void)
{
	pm_table = kzalloc(sizeof(*pm_table), GFP_KERNEL);
	if (!pm_table)
		return;
	spin_lock_init(&pm_table->lock);
	pm_announce();
	pm_start_on(0, pm_table_grow, "pm_grower");
	pm_table_insert(pm_table);
}

/* Asks a CPU that does not answer. */
static int pm_deaf(void *unused)
{
	pm_spin_irqs_off();
	return 0;
}

static void pm_ping_answer(void *unused)
{
}

static PM_FAULT void pm_ping(void)
{
	smp_call_function_single(1, pm_ping_answer, NULL, 1);
}

static void unanswered_call(void)
{
	pm_announce();
	pm_start_on(1, pm_deaf, "pm_deaf");
	pm_ping();
}

/* A work item that runs for ever, nicely, and those behind it. */
static PM_FAULT void pm_reindex(struct work_struct *work)
{
	for (;;)
		cond_resched();
}

static PM_FAULT void pm_quick(struct work_struct *work)
{
}

static DECLARE_WORK(pm_reindex_work, pm_reindex);
static DECLARE_WORK(pm_quick_work, pm_quick);

static void workqueue_hog(void)
{
	schedule_work_on(1, &pm_reindex_work);
	msleep(100);
	schedule_work_on(1, &pm_quick_work);
}

const struct pm_fault pm_lockup_faults[] = {
	{ "spin-announced", spin_announced },
	{ "spin-irqs-off", spin_irqs_off },
	{ "spinlock-recursive", spinlock_recursive },
	{ "spinlock-held", spinlock_held },
	{ "spinlock-irqsave", spinlock_irqsave },
	{ "spinlock-abba", spinlock_abba },
	{ "spinlock-in-object", spinlock_in_object },
	{ "unanswered-call", unanswered_call },
	{ "workqueue-hog", workqueue_hog },
	{ }
};
