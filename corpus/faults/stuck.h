/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PM_STUCK_H
#define PM_STUCK_H

/*
 * Says "pm: stuck" from CPU 0 when the machine has had time to get stuck, however
 * little of it still runs. CPU 0 must be able to take an interrupt until then.
 */
void pm_announce(void);

#endif
