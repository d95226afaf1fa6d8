"""What user space writes into the kernel's log is no report of the kernel's."""

from __future__ import annotations

import pytest

from postmortem.log.scan import scan_bytes

OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "#PF: supervisor read access in kernel mode",
    "Oops: 0000 [#1] SMP",
    "RIP: 0010:made_up_by_a_program+0x1/0x20",
)
FORMS = {
    "dmesg --raw": ("<1>[   12.345678] ", "<9>[   12.345678] "),
    "dmesg -x": ("kern  :alert : [   12.345678] ", "user  :alert : [   12.345678] "),
    "/dev/kmsg": ("1,5,12345678,-;", "9,5,12345678,-;"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_forged_oops(form: str) -> None:
    kernel, user = (
        scan_bytes("".join(f"{prefix}{line}\n" for line in OOPS).encode()).reports
        for prefix in FORMS[form]
    )
    assert [report.function for report in kernel] == ["made_up_by_a_program"]
    assert user == []
