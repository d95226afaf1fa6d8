// SPDX-License-Identifier: GPL-2.0
/* Control flow: traps, assertions, jumps to where no code is. */
#include <linux/string.h>

#include "faults.h"

static PM_FAULT u32 pm_quota_share(u32 total, u32 users)
{
	return total / users;
}

static void divide(void)
{
	u32 users = 0;

	OPTIMIZER_HIDE_VAR(users);
	pr_info("share %u\n", pm_quota_share(4096, users));
}

static PM_FAULT void pm_assert_state(int state)
{
	BUG_ON(state != 3);
}

static void bug(void)
{
	pm_assert_state(7);
}

static PM_FAULT int pm_check_balance(int credit, int debit)
{
	return WARN(credit != debit, "pm: credit %d does not match debit %d\n",
		    credit, debit);
}

static void warn(void)
{
	pr_info("warned %d\n", pm_check_balance(10, 9));
}

/* An instruction that is none, and that no BUG() table knows. */
static PM_FAULT void pm_run_undefined(void)
{
#ifdef CONFIG_X86
	asm volatile("ud2");
#else
	asm volatile(".inst 0");
#endif
}

static PM_FAULT void pm_session_dispatch(struct pm_session *session)
{
	session->notify(session);
	OPTIMIZER_HIDE_VAR(session);
}

/* Nobody set session->notify. */
static void jump_null(void)
{
	pm_session_dispatch(pm_session_create("deaf"));
}

/* session->notify points into data of this module. */
static u8 pm_data[64] = { 0x90, 0x90, 0xc3 };

static PM_FAULT void pm_session_run_data(struct pm_session *session)
{
	session->notify(session);
	OPTIMIZER_HIDE_VAR(session);
}

static void jump_data(void)
{
	struct pm_session *session = pm_session_create("data");
	void *target = pm_data;

	OPTIMIZER_HIDE_VAR(target);
	session->notify = target;
	pm_session_run_data(session);
}

static PM_FAULT void pm_give_up(int tries)
{
	panic("pm: backend lost after %d tries", tries);
}

static void give_up(void)
{
	pm_give_up(3);
}

/* Far more contiguous pages than there are: a warning with a stack, no crash. */
static PM_FAULT void *pm_allocate_huge(size_t size)
{
	return kmalloc(size, GFP_KERNEL | __GFP_NORETRY);
}

static void allocation_failure(void)
{
	void *memory[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		memory[i] = pm_allocate_huge(4 << 20);
		if (!memory[i])
			break;
	}
	while (i--)
		kfree(memory[i]);
}

const struct pm_fault pm_control_faults[] = {
	{ "divide", divide },
	{ "bug", bug },
	{ "warn", warn },
	{ "invalid-opcode", pm_run_undefined },
	{ "jump-null", jump_null },
	{ "jump-data", jump_data },
	{ "panic", give_up },
	{ "allocation-failure", allocation_failure },
	{ }
};
