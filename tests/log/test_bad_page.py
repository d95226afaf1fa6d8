"""A bad page is the doing of whoever freed it while it was in use, or of its owner."""

from __future__ import annotations

import pytest

from postmortem.log.scan import scan_bytes

OWNER = (
    "page_owner tracks the page as allocated",
    "page last allocated via order 0, migratetype Movable, gfp_mask 0x152c42(GFP_NOIO), pid 88",
    " post_alloc_hook+0x3e/0xb60",
    " get_page_from_freelist+0x243/0xaa0",
    " otter_grow+0x3a9/0x3c0",
    " otter_store+0x5bd/0x920",
)
HEAD = (
    "BUG: Bad page state in process heron  pfn:6a4f1",
    "page: refcount:0 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x6a4f1",
    "page dumped because: PAGE_FLAGS_CHECK_AT_FREE flag(s) set",
)
STACK = (
    "CPU: 1 PID: 88 Comm: heron Not tainted 6.10.0-acme #0",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x415/0x8a0",
    " bad_page+0x228/0xd00",
)


@pytest.mark.parametrize(
    ("freed", "function"),
    [
        (("free_unref_page",), "gull_drop"),
        (("free_pages_prepare", "__free_pages_ok"), "gull_drop"),
        (("free_unref_folios", "folios_put_refs", "__folio_batch_release"), "otter_grow"),
        (("free_pages_prepare", "free_pcppages_bulk", "free_unref_page_commit"), "otter_grow"),
        (("check_new_page", "get_page_from_freelist"), "otter_grow"),
    ],
)
def test_who_made_a_page_bad(freed: tuple[str, ...], function: str) -> None:
    rest = (*freed, "gull_drop", "gull_shrink")
    lines = (*HEAD, *OWNER, *STACK, *(f" {name}+0x10/0x200" for name in rest), " </TASK>")
    text = "".join(f"[  522.000872] {line}\n" for line in lines)
    (report,) = scan_bytes(text.encode()).reports
    assert report.function == function


def test_a_guess_of_the_unwinder_hides_no_list_that_was_emptied() -> None:
    rest = (
        " ? __pfx_print_modules+0x10/0x10",
        " free_unref_folios+0x11/0x19",
        " folios_put+0x9/0xa",
    )
    lines = (
        *HEAD,
        *OWNER,
        *STACK,
        " ? __pfx_dump_stack_lvl+0x10/0x10",
        *rest,
        " gull_drop+0x5/0x9",
    )
    text = "".join(f"[  522.000872] {line}\n" for line in lines)
    (report,) = scan_bytes(text.encode()).reports
    assert report.function == "otter_grow"
