// SPDX-License-Identifier: GPL-2.0
/* Who waits for whom: every kind of lock, held for ever or taken in a circle. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/percpu-rwsem.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/semaphore.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "faults.h"

/* Alive, not waiting for any lock, and never done. */
static PM_FAULT void pm_stay(void)
{
	for (;;)
		msleep_interruptible(1000);
}

static void pm_start(int (*run)(void *), const char *name)
{
	if (IS_ERR(kthread_run(run, NULL, "%s", name)))
		pr_err("pm: no thread for %s\n", name);
	/* The next one shall come after it. */
	msleep(100);
}

/* --- circles ------------------------------------------------------------- */

static DEFINE_MUTEX(pm_red_mutex);
static DEFINE_MUTEX(pm_green_mutex);
static DEFINE_MUTEX(pm_blue_mutex);

static PM_FAULT int pm_take_red_green(void *unused)
{
	mutex_lock(&pm_red_mutex);
	msleep(500);
	mutex_lock(&pm_green_mutex);
	return 0;
}

static PM_FAULT int pm_take_green_blue(void *unused)
{
	mutex_lock(&pm_green_mutex);
	msleep(500);
	mutex_lock(&pm_blue_mutex);
	return 0;
}

static PM_FAULT int pm_take_blue_red(void *unused)
{
	mutex_lock(&pm_blue_mutex);
	msleep(500);
	mutex_lock(&pm_red_mutex);
	return 0;
}

static PM_FAULT int pm_watch_red(void *unused)
{
	msleep(1000);
	mutex_lock(&pm_red_mutex);
	return 0;
}

/* Three tasks in a circle, and one that only hangs on it. */
static void deadlock_three(void)
{
	kthread_run(pm_take_red_green, NULL, "pm_red");
	kthread_run(pm_take_green_blue, NULL, "pm_green");
	kthread_run(pm_take_blue_red, NULL, "pm_blue");
	kthread_run(pm_watch_red, NULL, "pm_watcher");
}

static DEFINE_MUTEX(pm_audit_mutex);

static PM_FAULT void pm_audit_append(void)
{
	mutex_lock(&pm_audit_mutex);
	mutex_unlock(&pm_audit_mutex);
}

/* Takes the mutex, and calls what takes it again. */
static PM_FAULT void pm_audit_run(struct work_struct *work)
{
	mutex_lock(&pm_audit_mutex);
	pm_audit_append();
	mutex_unlock(&pm_audit_mutex);
}

static DECLARE_WORK(pm_audit_work, pm_audit_run);

static void self_deadlock(void)
{
	schedule_work(&pm_audit_work);
}

static DEFINE_MUTEX(pm_device_mutex);

static PM_FAULT void pm_device_sync(struct work_struct *work)
{
	mutex_lock(&pm_device_mutex);
	mutex_unlock(&pm_device_mutex);
}

static DECLARE_WORK(pm_sync_work, pm_device_sync);

/* Waits for work that wants the mutex held here. */
static PM_FAULT void pm_device_stop(void)
{
	mutex_lock(&pm_device_mutex);
	schedule_work(&pm_sync_work);
	msleep(100);
	flush_work(&pm_sync_work);
	mutex_unlock(&pm_device_mutex);
}

static DECLARE_RWSEM(pm_route_sem);
static DEFINE_MUTEX(pm_port_mutex);

static PM_FAULT int pm_route_walk(void *unused)
{
	down_read(&pm_route_sem);
	msleep(500);
	mutex_lock(&pm_port_mutex);
	return 0;
}

static PM_FAULT int pm_port_remove(void *unused)
{
	mutex_lock(&pm_port_mutex);
	msleep(500);
	down_write(&pm_route_sem);
	return 0;
}

/* A reader of the rwsem and a task that wants to write it, by a mutex in a circle. */
static void deadlock_rwsem(void)
{
	kthread_run(pm_route_walk, NULL, "pm_walker");
	kthread_run(pm_port_remove, NULL, "pm_remover");
}

/* --- locks that are held for ever ---------------------------------------- */

static DECLARE_RWSEM(pm_table_sem);

static PM_FAULT int pm_table_list(void *unused)
{
	down_read(&pm_table_sem);
	pm_stay();
	return 0;
}

static PM_FAULT int pm_table_update(void *unused)
{
	down_write(&pm_table_sem);
	return 0;
}

static PM_FAULT int pm_table_query(void *unused)
{
	down_read(&pm_table_sem);
	return 0;
}

/* A reader keeps a writer out, and the writer keeps further readers out. */
static void rwsem_reader(void)
{
	pm_start(pm_table_list, "pm_lister");
	pm_start(pm_table_update, "pm_updater");
	pm_start(pm_table_query, "pm_query_1");
	pm_start(pm_table_query, "pm_query_2");
}

static PM_FAULT int pm_table_rebuild(void *unused)
{
	down_write(&pm_table_sem);
	pm_stay();
	return 0;
}

static void rwsem_writer(void)
{
	pm_start(pm_table_rebuild, "pm_rebuilder");
	pm_start(pm_table_query, "pm_query_1");
	pm_start(pm_table_update, "pm_updater");
}

DEFINE_STATIC_PERCPU_RWSEM(pm_state_rwsem);

static PM_FAULT int pm_state_replace(void *unused)
{
	percpu_down_write(&pm_state_rwsem);
	pm_stay();
	return 0;
}

static PM_FAULT int pm_state_read(void *unused)
{
	percpu_down_read(&pm_state_rwsem);
	return 0;
}

static void percpu_writer(void)
{
	pm_start(pm_state_replace, "pm_replacer");
	pm_start(pm_state_read, "pm_state_read");
}

static struct semaphore pm_upload_slot =
	__SEMAPHORE_INITIALIZER(pm_upload_slot, 1);

static PM_FAULT int pm_upload(void *unused)
{
	down(&pm_upload_slot);
	pm_stay();
	return 0;
}

static PM_FAULT int pm_upload_next(void *unused)
{
	down(&pm_upload_slot);
	return 0;
}

static void semaphore_held(void)
{
	pm_start(pm_upload, "pm_uploader");
	pm_start(pm_upload_next, "pm_client");
}

static DEFINE_RT_MUTEX(pm_clock_mutex);

static PM_FAULT int pm_clock_hold(void *unused)
{
	rt_mutex_lock(&pm_clock_mutex);
	pm_stay();
	return 0;
}

static PM_FAULT int pm_clock_set(void *unused)
{
	rt_mutex_lock(&pm_clock_mutex);
	return 0;
}

static void rtmutex_held(void)
{
	pm_start(pm_clock_hold, "pm_clock_owner");
	pm_start(pm_clock_set, "pm_clock_set");
}

static DEFINE_MUTEX(pm_stats_mutex);

static PM_FAULT int pm_stats_show(void *unused)
{
	mutex_lock(&pm_stats_mutex);
	mutex_unlock(&pm_stats_mutex);
	return 0;
}

/* Works without an end, but lets others run. */
static PM_FAULT int pm_stats_sum(void *unused)
{
	mutex_lock(&pm_stats_mutex);
	for (;;)
		cond_resched();
	return 0;
}

static void mutex_busy(void)
{
	pm_start(pm_stats_sum, "pm_summer");
	pm_start(pm_stats_show, "pm_stats");
}

/* Ends with the mutex in its hands. */
static PM_FAULT int pm_stats_leave(void *unused)
{
	mutex_lock(&pm_stats_mutex);
	return 0;
}

static void mutex_exited(void)
{
	pm_start(pm_stats_leave, "pm_leaver");
	pm_start(pm_stats_show, "pm_stats");
}

/* A lock inside an object, and three generations of waiters. */
struct pm_queue {
	u64 id;
	struct mutex lock;
	char name[200];
};

static struct pm_queue *pm_queue;

static PM_FAULT int pm_queue_drain(void *unused)
{
	mutex_lock(&pm_queue->lock);
	pm_stay();
	return 0;
}

static PM_FAULT int pm_queue_resize(void *unused)
{
	down_write(&pm_table_sem);
	mutex_lock(&pm_queue->lock);
	return 0;
}

static void chain(void)
{
	pm_queue = kzalloc(sizeof(*pm_queue), GFP_KERNEL);
	mutex_init(&pm_queue->lock);
	pm_start(pm_queue_drain, "pm_drainer");
	pm_start(pm_queue_resize, "pm_resizer");
	pm_start(pm_table_query, "pm_query_1");
	pm_start(pm_table_query, "pm_query_2");
	pm_start(pm_table_update, "pm_updater");
}

static DEFINE_MUTEX(pm_depot_mutex);

static PM_FAULT int pm_depot_enter(void *unused)
{
	mutex_lock(&pm_depot_mutex);
	mutex_unlock(&pm_depot_mutex);
	return 0;
}

/* Keeps the mutex while more and more tasks come to wait for it. */
static PM_FAULT void pm_depot_close(unsigned int tasks)
{
	unsigned int count;

	mutex_lock(&pm_depot_mutex);
	for (count = 0; count < tasks; count++)
		if (IS_ERR(kthread_run(pm_depot_enter, NULL, "pm_guest/%u", count)))
			break;
	pr_info("pm: %u tasks wait\n", count);
	pm_stay();
}

static void convoy(void)
{
	pm_depot_close(12700);
}

static void convoy_small(void)
{
	pm_depot_close(1000);
}

static void convoy_large(void)
{
	pm_depot_close(30000);
}

/* --- others are waited for ----------------------------------------------- */

/* Does not look at kthread_should_stop(). */
static PM_FAULT int pm_stubborn_run(void *unused)
{
	for (;;)
		msleep_interruptible(1000);
	return 0;
}

static PM_FAULT void pm_stop_stubborn(void)
{
	struct task_struct *task = kthread_run(pm_stubborn_run, NULL, "pm_stubborn");

	msleep(100);
	kthread_stop(task);
	OPTIMIZER_HIDE_VAR(task);
}

static PM_FAULT void pm_import_run(struct work_struct *work)
{
	pm_stay();
}

static DECLARE_WORK(pm_import_work, pm_import_run);

static PM_FAULT void pm_import_cancel(void)
{
	schedule_work(&pm_import_work);
	msleep(100);
	cancel_work_sync(&pm_import_work);
}

static PM_FAULT void pm_import_flush(void)
{
	struct workqueue_struct *queue = alloc_workqueue("pm_import", WQ_UNBOUND, 1);

	queue_work(queue, &pm_import_work);
	msleep(100);
	flush_workqueue(queue);
	OPTIMIZER_HIDE_VAR(queue);
}

static DECLARE_WAIT_QUEUE_HEAD(pm_reply_queue);
static int pm_reply;

static PM_FAULT void pm_await_reply(void)
{
	wait_event(pm_reply_queue, READ_ONCE(pm_reply));
}

static unsigned long pm_flags = 1;

static PM_FAULT void pm_await_flag(void)
{
	wait_on_bit(&pm_flags, 0, TASK_UNINTERRUPTIBLE);
}

const struct pm_fault pm_lock_faults[] = {
	{ "deadlock-three", deadlock_three },
	{ "self-deadlock", self_deadlock },
	{ "flush-deadlock", pm_device_stop },
	{ "deadlock-rwsem", deadlock_rwsem },
	{ "rwsem-reader", rwsem_reader },
	{ "rwsem-writer", rwsem_writer },
	{ "percpu-writer", percpu_writer },
	{ "semaphore-held", semaphore_held },
	{ "rtmutex-held", rtmutex_held },
	{ "mutex-busy", mutex_busy },
	{ "mutex-exited", mutex_exited },
	{ "lock-chain", chain },
	{ "convoy", convoy },
	{ "convoy-1000", convoy_small },
	{ "convoy-30000", convoy_large },
	{ "kthread-stop", pm_stop_stubborn },
	{ "cancel-work", pm_import_cancel },
	{ "flush-queue", pm_import_flush },
	{ "wait-event", pm_await_reply },
	{ "wait-bit", pm_await_flag },
	{ }
};
