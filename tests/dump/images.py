"""Small dumps written by hand, from the formats' own descriptions.

ELF: elf(5). kdump-compressed: makedumpfile ``diskdump_mod.h`` and IMPLEMENTATION.
Flattened: makedumpfile ``makedumpfile.h``. Nothing here uses the code under test.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

PAGE = 4096
EM_X86_64, EM_AARCH64, EM_RISCV = 62, 183, 243
KERNEL_MAP = 0xFFFFFFFF80000000
RELEASE = "6.9.1-test"
BUILD_ID = "0123456789abcdef0123456789abcdef01234567"

SWAPPER_PG_DIR = 0x3000
"""Physical address of the page tables' root in :func:`machine`."""
UTS_NS = 0x9000
"""Physical address of init_uts_ns."""


def vmcoreinfo(extra: Mapping[str, str] | None = None, build_id: str | None = BUILD_ID) -> bytes:
    """A note like the kernel's, of a machine that runs at its linked address."""
    values = {
        "OSRELEASE": RELEASE,
        **({"BUILD-ID": build_id} if build_id else {}),
        "PAGESIZE": "4096",
        "SYMBOL(init_uts_ns)": f"{KERNEL_MAP + UTS_NS:x}",
        "OFFSET(uts_namespace.name)": "0",
        "SYMBOL(swapper_pg_dir)": f"{KERNEL_MAP + SWAPPER_PG_DIR:x}",
        "SYMBOL(_stext)": f"{KERNEL_MAP:x}",
        "NUMBER(phys_base)": "0",
        "NUMBER(pgtable_l5_enabled)": "0",
        "KERNELOFFSET": "0",
        **{f"SIZE(filler_{index})": str(index) for index in range(12)},
        **(extra or {}),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items()).encode()


DIRECT_MAP = 0xFFFF888000000000


def machine(size: int = 4 << 20) -> bytearray:
    """Physical memory with x86-64 page tables: the image at 0, the direct map of ``size``.

    Page n holds the number n in each of its words, except pages 2 to 9, which are
    the page tables, VMCOREINFO and ``init_uts_ns``.
    """
    memory = bytearray(b"".join(struct.pack("<Q", n) * 512 for n in range(size // PAGE)))

    def entry(table: int, index: int, value: int) -> None:
        struct.pack_into("<Q", memory, table + index * 8, value)

    pud_direct, pmd_direct, pud_image, pmd_image = 0x4000, 0x5000, 0x6000, 0x7000
    for table in (SWAPPER_PG_DIR, pud_direct, pmd_direct, pud_image, pmd_image):
        memory[table : table + PAGE] = bytes(PAGE)
    entry(SWAPPER_PG_DIR, DIRECT_MAP >> 39 & 511, pud_direct | 0x63)
    entry(SWAPPER_PG_DIR, 511, pud_image | 0x63)
    entry(pud_direct, 0, pmd_direct | 0x63)
    entry(pud_image, KERNEL_MAP >> 30 & 511, pmd_image | 0x63)
    for index in range(size >> 21):
        entry(pmd_direct, index, index << 21 | 0xE3)
        entry(pmd_image, index, index << 21 | 0xE3)
    names = ("Linux", "testbox", RELEASE, "#1", "x86_64", "(none)")
    uts = b"".join(name.encode().ljust(65, b"\0") for name in names)
    memory[UTS_NS : UTS_NS + PAGE] = uts.ljust(PAGE, b"\0")
    return memory


def note(name: bytes, kind: int, desc: bytes) -> bytes:
    padded = name + b"\0"
    head = struct.pack("<III", len(padded), len(desc), kind)
    return (
        head
        + padded.ljust(-(-len(padded) // 4) * 4, b"\0")
        + desc.ljust(-(-len(desc) // 4) * 4, b"\0")
    )


def prstatus(cpu: int) -> bytes:
    """struct elf_prstatus of x86-64, 336 bytes, with pr_pid as QEMU sets it."""
    return note(b"CORE", 1, struct.pack("<32xI300x", cpu + 1))


def notes(text: bytes | None, cpus: int = 2) -> bytes:
    data = b"".join(prstatus(cpu) for cpu in range(cpus))
    return data + (note(b"VMCOREINFO", 0, text) if text is not None else b"")


def elf_core(
    loads: Sequence[tuple[int, int, bytes] | tuple[int, int, bytes, int]],
    note_data: bytes,
    *,
    machine: int = EM_X86_64,
    ehsize: int = 64,
    kind: int = 4,
) -> bytes:
    """An ELF64 core; a load is (physical, virtual, bytes[, size in memory])."""
    count = len(loads) + 1
    position = 64 + 56 * count
    headers = [struct.pack("<IIQQQQQQ", 4, 0, position, 0, 0, len(note_data), len(note_data), 4)]
    body = [note_data]
    position += len(note_data)
    for physical, virtual, data, *more in loads:
        size = more[0] if more else len(data)
        headers.append(
            struct.pack("<IIQQQQQQ", 1, 7, position, virtual, physical, len(data), size, 0)
        )
        body.append(data)
        position += len(data)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, ehsize, 56, count, 0, 0, 0
    )
    return b"".join([head, *headers, *body])


def qemu_elf(memory: bytes, text: bytes | None) -> bytes:
    """What dump-guest-memory without paging writes: virtual = physical, e_ehsize 8."""
    return elf_core([(0, 0, bytes(memory))], notes(text), ehsize=8)


def elf_object(
    sections: Mapping[str, bytes],
    *,
    kind: int = 2,
    machine: int = EM_X86_64,
) -> bytes:
    """An ELF64 file with section headers and no segments."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body, rows = bytearray(64), [bytes(64)]
    for name, data in [*sections.items(), (".shstrtab", names)]:
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", at, 1, 0, 0, len(body), len(data), 0, 0, 1, 0))
        body += data
    struct.pack_into("<16s", body, 0, b"\x7fELF\x02\x01\x01")
    struct.pack_into(
        "<HHIQQQIHHHHHH",
        body,
        16,
        *(kind, machine, 1, 0, 0, len(body), 0, 64, 56, 0, 64, len(rows), len(rows) - 1),
    )
    return bytes(body) + b"".join(rows)


def kdump(
    pages: Mapping[int, bytes],
    max_pfn: int,
    text: bytes | None,
    *,
    compress: bool = True,
    level: int = 0,
    status: int = 0,
    split: tuple[int, int] | None = None,
    machine: str = "x86_64",
    release: str = RELEASE,
    cpus: int = 2,
    timestamp: int = 1_700_000_000,
) -> bytes:
    """A kdump-compressed file, header version 6, with zlib pages or bare ones."""
    note_data = notes(text, cpus)
    info = text or b""
    sub_blocks = 1 + -(-(len(note_data) + len(info)) // PAGE)
    bitmap_bytes = -(-max_pfn // 8)
    half_blocks = -(-bitmap_bytes // PAGE)
    uts = (
        b"".join(
            word.encode().ljust(65, b"\0")
            for word in (("Linux", "testbox", release, "#1") if release else ("", "", "", ""))
        )
        + machine.encode().ljust(65, b"\0")
        + bytes(65)
    )
    head = b"KDUMP   " + struct.pack("<i", 6) + uts + bytes(6)
    head += struct.pack("<qq", timestamp, 0)
    head += struct.pack(
        "<IiiIIIIIIi",
        *(status | (1 if compress else 0), PAGE, sub_blocks, half_blocks * 2),
        *(max_pfn, 0, 0, 0, 0, cpus),
    )
    start, end = split or (0, 0)
    note_at = 2 * PAGE
    sub = struct.pack(
        "<QiiQQQQQQQQQQQ",
        *(0, level, 1 if split else 0, start, end),
        *(note_at + len(note_data) if info else 0, len(info)),
        *(note_at, len(note_data), 0, 0, start, end, max_pfn),
    )
    bitmap = bytearray(half_blocks * PAGE)
    for pfn in pages:
        bitmap[pfn // 8] |= 1 << pfn % 8
    existing = bytearray(half_blocks * PAGE)
    for pfn in range(max_pfn):
        existing[pfn // 8] |= 1 << pfn % 8
    mine = sorted(pfn for pfn in pages if split is None or start <= pfn < end)
    image = bytearray(head.ljust(PAGE, b"\0") + sub.ljust(PAGE, b"\0"))
    image += (note_data + info).ljust((sub_blocks - 1) * PAGE, b"\0")
    image += existing + bitmap
    at = len(image) + 24 * len(mine)
    body = bytearray()
    for pfn in mine:
        data, flags = pages[pfn], 0
        if compress:
            packed = zlib.compress(data, 1)
            if len(packed) < PAGE:
                data, flags = packed, 1
        image += struct.pack("<QIIQ", at + len(body), len(data), flags, 0)
        body += data
    return bytes(image + body)


def pages_of(memory: bytes, keep: Iterable[int] | None = None) -> dict[int, bytes]:
    """Pages of physical memory by page frame number."""
    wanted = range(len(memory) // PAGE) if keep is None else keep
    return {pfn: bytes(memory[pfn * PAGE : (pfn + 1) * PAGE]) for pfn in wanted}


def flattened(image: bytes, piece: int = 10_000, *, end: bool = True) -> bytes:
    """makedumpfile -F: the header is written empty first and again at the end."""
    out = b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    records = [(0, bytes(64))]
    records += [(at, image[at : at + piece]) for at in range(0, len(image), piece)]
    records.append((0, image[:64]))
    data = out.ljust(4096, b"\0")
    for offset, part in records:
        data += struct.pack(">qq", offset, len(part)) + part
    return data + (struct.pack(">qq", -1, -1) if end else b"")
