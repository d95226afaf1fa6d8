/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fault module of postmortem's corpus: a small "driver" that breaks the
 * kernel in one chosen way. Each fault stands in a function whose name says
 * what it does wrong, so that a report about it can be judged by eye.
 */
#ifndef PM_FAULTS_H
#define PM_FAULTS_H

#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

/*
 * gcc moves constants and inlines even through noinline; noipa makes it treat
 * the function as if it were in another file, so that it stays in the stack.
 */
#define PM_FAULT __attribute__((noipa))

/* The objects that the faults are about; their members must be found in BTF. */
struct pm_peer {
	u64 address;
	u32 port;
	u32 flags;
	struct pm_session *owner;
};

struct pm_session {
	u64 id;
	char name[24];
	struct list_head link;
	struct pm_peer *peer;
	unsigned int timeout_ms;
	refcount_t users;
	void (*notify)(struct pm_session *session);
	u64 bytes_received;
};

struct pm_fault {
	const char *name;	/* what is written to /proc/pm_fault */
	void (*run)(void);
};

extern struct kmem_cache *pm_session_cache;
struct pm_session *pm_session_create(const char *name);

int pm_slab_init(void);
void pm_slab_exit(void);

#endif
