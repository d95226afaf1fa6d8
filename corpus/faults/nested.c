// SPDX-License-Identifier: GPL-2.0
/* An interrupt handler takes the spinlock that it broke into. */
#include <linux/delay.h>
#include <linux/irq_work.h>

#include "faults.h"
#include "stuck.h"

static DEFINE_SPINLOCK(pm_ring_lock);
static unsigned long pm_ring_head;

static PM_FAULT void pm_ring_tick(struct irq_work *work)
{
	spin_lock(&pm_ring_lock);
	pm_ring_head = 0;
	spin_unlock(&pm_ring_lock);
}

static struct irq_work pm_ring_work;

/* Forgets to keep interrupts out. */
static PM_FAULT void pm_ring_advance(void)
{
	spin_lock(&pm_ring_lock);
	irq_work_queue(&pm_ring_work);
	mdelay(1000);
	pm_ring_head++;
	spin_unlock(&pm_ring_lock);
}

static void spinlock_in_irq(void)
{
	pm_announce();
	init_irq_work(&pm_ring_work, pm_ring_tick);
	pm_ring_advance();
}

const struct pm_fault pm_nested_faults[] = {
	{ "spinlock-in-irq", spinlock_in_irq },
	{ }
};
