"""A person's text with a log in it, and a log."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from postmortem.errors import UnknownInputError
from postmortem.log.prose import is_document

TEXT = """\
# How the frobnicator fails

When a peer goes away while its port is being read, the driver may follow a pointer
that nobody looked at. The kernel then prints a report like the one below, and the
program that read the port is gone.

The address is small, because it is the offset of the member in the structure. Look
at who should have set the pointer, and at the caller above it.

"""
OOPS = """\
    BUG: kernel NULL pointer dereference, address: 0000000000000010
    Oops: 0000 [#1] PREEMPT SMP
    CPU: 1 PID: 77 Comm: frobd Not tainted 6.9.0 #1
    RIP: 0010:frob_peek+0x10/0x20 [frob]
    Call Trace:
     frob_read+0x10/0x20 [frob]
"""
MAIL = """\
Hello, my machine dies every night since the last update. What can I do about that?

"""


def test_documentation_is_a_document() -> None:
    assert is_document((TEXT + OOPS).splitlines())


def test_a_report_with_a_word_before_it_is_none() -> None:
    assert not is_document((MAIL + OOPS).splitlines())
    assert not is_document((MAIL + OOPS + OOPS).splitlines())


def test_a_console_with_advice_of_its_boot_scripts_is_none() -> None:
    advice = (
        "You are in emergency mode. After logging in, type journalctl -xb to view the logs,\n"
        "systemctl reboot to reboot, or systemctl default to try again to boot.\n\n"
    )
    log = "".join(f"[    {n}.000000] frob: message number {n}\n" for n in range(9))
    assert not is_document((log + "\n" + advice + log).splitlines())


def test_the_verdict_of_a_document_says_that_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "frob.md"
    path.write_text(TEXT + OOPS)
    found = postmortem.open(path).analyze().verdict
    assert found.culprit.function == "frob_peek"
    assert "is a text that quotes a kernel's report (line 10), no log" in found.summary
    assert found.confidence.value == "likely"
    path.write_text(MAIL + OOPS)
    mail = postmortem.open(path).analyze().verdict
    assert mail.culprit.function == "frob_peek" and "quotes" not in mail.summary


@pytest.mark.parametrize(
    "title",
    [
        "BUG: unable to handle kernel NULL pointer dereference in frob_peek",
        "BUG: unable to handle kernel paging request in frob_peek",
        "WARNING: suspicious RCU usage in frob_peek",
    ],
)
def test_the_title_of_a_bug_is_no_report(tmp_path: Path, title: str) -> None:
    path = tmp_path / "sample.md"
    path.write_text(f"{TEXT}    {title}\n        CULPRIT: frob_peek [frob]\n")
    with pytest.raises(UnknownInputError):
        postmortem.open(path)
