// SPDX-License-Identifier: GPL-2.0
/* Bad addresses: NULL, wild, non-canonical, user, read-only, stack. */
#include <linux/delay.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "faults.h"

/* The compiler must not know what stands in a pointer. */
static void *pm_hide(unsigned long address)
{
	OPTIMIZER_HIDE_VAR(address);
	return (void *)address;
}

/* NULL dereference, a read: the address is the offset of timeout_ms. */
static PM_FAULT unsigned int pm_session_timeout(const struct pm_session *session)
{
	return READ_ONCE(session->timeout_ms);
}

static void null_read(void)
{
	pr_info("timeout %u\n", pm_session_timeout(pm_hide(0)));
}

/* NULL dereference, a write: the address is the offset of bytes_received. */
static PM_FAULT void pm_session_account(struct pm_session *session, u64 bytes)
{
	WRITE_ONCE(session->bytes_received, bytes);
}

static void null_write(void)
{
	pm_session_account(pm_hide(0), 1500);
}

/* NULL in the third function: session->peer is NULL, the fault is at peer->port. */
static PM_FAULT u32 pm_peer_port(const struct pm_peer *peer)
{
	return READ_ONCE(peer->port) + 1;
}

static PM_FAULT u32 pm_session_connect(struct pm_session *session)
{
	return pm_peer_port(session->peer) + 1;
}

static PM_FAULT u32 pm_session_open(const char *name)
{
	struct pm_session *session = pm_session_create(name);

	return pm_session_connect(session) + 1;
}

static void null_chain(void)
{
	pr_info("port %u\n", pm_session_open("alpha"));
}

/* A canonical kernel address where nothing is mapped. */
static PM_FAULT u64 pm_read_wild(const struct pm_session *session)
{
	return READ_ONCE(session->id);
}

static void wild_pointer(void)
{
	pr_info("id %llu\n", pm_read_wild(pm_hide(0xffffdeaddeadbe00)));
}

/* An address that is no address: bits 63 to 57 are not all the same. */
static PM_FAULT u64 pm_read_noncanonical(const struct pm_session *session)
{
	return READ_ONCE(session->id);
}

static void noncanonical(void)
{
	pr_info("id %llu\n", pm_read_noncanonical(pm_hide(0x1badc0de1badc0de)));
}

/* A user pointer taken without copy_from_user(): SMAP forbids it. */
static PM_FAULT u64 pm_read_user_memory(const u64 *user)
{
	return READ_ONCE(*user);
}

static void user_pointer(void)
{
	/* The text of a static program; surely mapped in the caller's memory. */
	pr_info("word %llu\n", pm_read_user_memory(pm_hide(0x401000)));
}

static const char pm_version[64] = "pm 1.0";

static PM_FAULT void pm_write_rodata(char *text)
{
	WRITE_ONCE(*text, 'x');
}

static void write_rodata(void)
{
	pm_write_rodata(pm_hide((unsigned long)pm_version));
}

/* Memory of vmalloc() that was given back. */
static PM_FAULT u64 pm_read_vfreed(const u64 *buffer)
{
	return READ_ONCE(buffer[16]);
}

static void vfreed(void)
{
	u64 *buffer = vmalloc(4 * PAGE_SIZE);

	vfree(buffer);
	msleep(100);
	/* vfree() is lazy in its own work item: make it purge. */
	vm_unmap_aliases();
	pr_info("word %llu\n", pm_read_vfreed(pm_hide((unsigned long)buffer)));
}

/* Recursion without an end: the guard page below the stack is hit. */
static PM_FAULT unsigned int pm_descend(unsigned int depth)
{
	volatile char frame[256];

	memset((char *)frame, depth, sizeof(frame));
	return pm_descend(depth + 1) + frame[depth % sizeof(frame)];
}

static void stack_overflow(void)
{
	pr_info("depth %u\n", pm_descend(0));
}

/* A buffer on the stack is overrun over the canary behind it. */
static PM_FAULT void pm_fill(char *buffer, size_t size)
{
	memset(buffer, 'A', size);
}

static PM_FAULT void pm_smash_canary(size_t size)
{
	char buffer[32];

	pm_fill(buffer, size);
	OPTIMIZER_HIDE_VAR(size);
}

static void stack_canary(void)
{
	pm_smash_canary(48);
}

const struct pm_fault pm_memory_faults[] = {
	{ "null-read", null_read },
	{ "null-write", null_write },
	{ "null-chain", null_chain },
	{ "wild-pointer", wild_pointer },
	{ "noncanonical", noncanonical },
	{ "user-pointer", user_pointer },
	{ "write-rodata", write_rodata },
	{ "vfreed", vfreed },
	{ "stack-overflow", stack_overflow },
	{ "stack-canary", stack_canary },
	{ }
};
