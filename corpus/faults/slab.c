// SPDX-License-Identifier: GPL-2.0
/* Slab objects, lists and counters that are used wrongly. */
#include <linux/string.h>
#include <linux/uaccess.h>

#include "faults.h"

struct kmem_cache *pm_session_cache;
static struct kmem_cache *pm_record_cache;
static LIST_HEAD(pm_sessions);
static LIST_HEAD(pm_records);

struct pm_record {
	struct list_head link;
	u64 sequence;
	char payload[1000];
};

struct pm_session *pm_session_create(const char *name)
{
	struct pm_session *session = kmem_cache_zalloc(pm_session_cache, GFP_KERNEL);

	if (!session)
		return NULL;
	strscpy(session->name, name, sizeof(session->name));
	refcount_set(&session->users, 1);
	session->timeout_ms = 30000;
	list_add_tail(&session->link, &pm_sessions);
	return session;
}

int pm_slab_init(void)
{
	/*
	 * A user copy region is the one way, in every version, to keep SLUB from
	 * merging a cache with another of the same size.
	 */
	pm_session_cache = kmem_cache_create_usercopy("pm_session",
			sizeof(struct pm_session), 0, 0,
			offsetof(struct pm_session, name), 24, NULL);
	pm_record_cache = kmem_cache_create_usercopy("pm_record",
			sizeof(struct pm_record), 0, 0,
			offsetof(struct pm_record, payload), 16, NULL);
	if (!pm_session_cache || !pm_record_cache) {
		pm_slab_exit();
		return -ENOMEM;
	}
	return 0;
}

void pm_slab_exit(void)
{
	kmem_cache_destroy(pm_session_cache);
	kmem_cache_destroy(pm_record_cache);
}

static struct pm_session *pm_session_close(struct pm_session *session)
{
	list_del(&session->link);
	kmem_cache_free(pm_session_cache, session);
	OPTIMIZER_HIDE_VAR(session);
	return session;
}

/* Reads session->peer from a freed object and follows it. */
static PM_FAULT u64 pm_session_peer_address(const struct pm_session *session)
{
	return READ_ONCE(session->peer->address);
}

static void use_after_free(void)
{
	struct pm_session *session = pm_session_close(pm_session_create("freed"));

	pr_info("address %llx\n", pm_session_peer_address(session));
}

/* Calls a function pointer that stands in a freed object. */
static PM_FAULT void pm_session_notify(struct pm_session *session)
{
	session->notify(session);
	OPTIMIZER_HIDE_VAR(session);
}

static void call_after_free(void)
{
	pm_session_notify(pm_session_close(pm_session_create("freed")));
}

/* Changes an object after it was freed; SLUB sees it at the next allocation. */
static PM_FAULT void pm_session_touch_freed(struct pm_session *session)
{
	session->bytes_received += 1500;
}

static void write_after_free(void)
{
	struct pm_session *session = pm_session_close(pm_session_create("freed"));

	pm_session_touch_freed(session);
	session = kmem_cache_alloc(pm_session_cache, GFP_KERNEL);
	kmem_cache_free(pm_session_cache, session);
}

static PM_FAULT void pm_session_release_twice(struct pm_session *session)
{
	kmem_cache_free(pm_session_cache, session);
	OPTIMIZER_HIDE_VAR(session);
	kmem_cache_free(pm_session_cache, session);
}

static void double_free(void)
{
	struct pm_session *session = pm_session_create("twice");

	list_del(&session->link);
	pm_session_release_twice(session);
}

/* Writes eight bytes behind the object; SLUB sees it when it is freed. */
static PM_FAULT void pm_session_overrun(struct pm_session *session)
{
	u64 *behind = (u64 *)(session + 1);

	OPTIMIZER_HIDE_VAR(behind);
	*behind = 0x4141414141414141;
}

static void overrun(void)
{
	struct pm_session *session = pm_session_create("overrun");

	pm_session_overrun(session);
	pm_session_close(session);
}

/* Hardened user copy: more bytes than the object has. */
static PM_FAULT long pm_session_read_past_end(void __user *user,
					      const struct pm_session *session,
					      unsigned long size)
{
	return copy_to_user(user, session, size);
}

static void usercopy(void)
{
	unsigned long size = 3 * sizeof(struct pm_session);

	OPTIMIZER_HIDE_VAR(size);
	pr_info("%ld bytes left\n", pm_session_read_past_end(
			(void __user *)0x401000, pm_session_create("copied"), size));
}

/* Takes an entry off a list whose neighbour points elsewhere. */
static PM_FAULT void pm_session_unlink(struct pm_session *session)
{
	list_del(&session->link);
	OPTIMIZER_HIDE_VAR(session);
}

static void list_del_corruption(void)
{
	struct pm_session *first = pm_session_create("first");
	struct pm_session *second = pm_session_create("second");

	pm_session_create("third");
	/* Somebody wrote over first->link.next. */
	first->link.next = &first->link;
	pm_session_unlink(second);
}

static PM_FAULT void pm_session_link_twice(struct pm_session *session)
{
	list_add(&session->link, &pm_sessions);
	list_add(&session->link, &pm_sessions);
	OPTIMIZER_HIDE_VAR(session);
}

static void list_add_double(void)
{
	struct pm_session *session = pm_session_create("linked");

	list_del(&session->link);
	pm_session_link_twice(session);
}

/* Goes on from an entry that was taken off the list: LIST_POISON1. */
static PM_FAULT u64 pm_session_next_id(const struct pm_session *session)
{
	return READ_ONCE(list_next_entry(session, link)->id);
}

static void list_poison(void)
{
	struct pm_session *session = pm_session_create("removed");

	list_del(&session->link);
	pr_info("next %llu\n", pm_session_next_id(session));
}

static PM_FAULT void pm_session_put_twice(struct pm_session *session)
{
	bool last = refcount_dec_and_test(&session->users);

	last |= refcount_dec_and_test(&session->users);
	OPTIMIZER_HIDE_VAR(last);
}

static void refcount_underflow(void)
{
	pm_session_put_twice(pm_session_create("put"));
}

/* Records are kept for ever, until there is no memory left. */
static PM_FAULT u64 pm_leak_records(void)
{
	struct pm_record *record;
	u64 sequence = 0;

	while ((record = kmem_cache_alloc(pm_record_cache, GFP_KERNEL))) {
		record->sequence = sequence++;
		list_add_tail(&record->link, &pm_records);
	}
	return sequence;
}

static void leak(void)
{
	pr_info("%llu records\n", pm_leak_records());
}

const struct pm_fault pm_slab_faults[] = {
	{ "use-after-free", use_after_free },
	{ "call-after-free", call_after_free },
	{ "write-after-free", write_after_free },
	{ "double-free", double_free },
	{ "overrun", overrun },
	{ "usercopy", usercopy },
	{ "list-del-corruption", list_del_corruption },
	{ "list-add-double", list_add_double },
	{ "list-poison", list_poison },
	{ "refcount-underflow", refcount_underflow },
	{ "leak", leak },
	{ }
};
