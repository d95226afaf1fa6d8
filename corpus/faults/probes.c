// SPDX-License-Identifier: GPL-2.0
/* A kprobe whose own handler is wrong: the function that it watches is innocent. */
#include <linux/kprobes.h>

#include "faults.h"

static u32 pm_ports_seen;

/* Believes that each session has a peer. */
static PM_FAULT void pm_probe_count(struct pm_session *session)
{
	pm_ports_seen += session->peer->port;
}

static int pm_probe_entered(struct kprobe *probe, struct pt_regs *regs)
{
	pm_probe_count((struct pm_session *)regs->di);
	return 0;
}

static PM_FAULT void pm_session_touch(struct pm_session *session)
{
	session->timeout_ms = 10;
}

static struct kprobe pm_touch_probe = {
	.symbol_name = "pm_session_touch",
	.pre_handler = pm_probe_entered,
};

static void probe_handler(void)
{
	struct pm_session *session = pm_session_create("probed");

	if (session && !register_kprobe(&pm_touch_probe))
		pm_session_touch(session);
}

const struct pm_fault pm_probe_faults[] = {
	{ "probe-handler", probe_handler },
	{ }
};
