"""The kinds of damage: each changes an image in a way that its random numbers choose."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.dumps.image import PAGE, Image

_ALL = (1 << 64) - 1

Damage = Callable[[random.Random, Image], str]
"""Changes the image; says what it did."""


@dataclass(frozen=True)
class Kind:
    damage: Damage
    fits: Callable[[Image], bool]


KINDS: dict[str, Kind] = {}


def kind(
    name: str, fits: Callable[[Image], bool] = lambda image: True
) -> Callable[[Damage], Damage]:
    """Register a kind of damage."""

    def add(damage: Damage) -> Damage:
        KINDS[name] = Kind(damage, fits)
        return damage

    return add


def odd(rng: random.Random, old: int, bits: int, size: int) -> int:
    """A number that a field of so many bits may hold after damage."""
    top = (1 << bits) - 1
    near = [old ^ 1 << rng.randrange(bits), old + 1, old - 1, old * 2, old // 2]
    edges = [0, 1, 2, 7, top, top >> 1, (top >> 1) + 1, size, size - 1, size + 1, PAGE, 1 << 40]
    return rng.choice([*near, *edges, rng.getrandbits(bits), -1, -PAGE]) & top


def set_field(rng: random.Random, image: Image, at: int, count: int) -> str:
    old = int.from_bytes(image.read(count, at), "little")
    new = odd(rng, old, 8 * count, image.size)
    image.write(at, new.to_bytes(count, "little"))
    return f"@{at:#x}/{count} {old:#x}->{new:#x}"


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *(value & _ALL for value in values))


# --- the file


@kind("elf.header", lambda image: image.is_elf)
def _(rng: random.Random, image: Image) -> str:
    fields = [(4, 1), (5, 1), (16, 2), (18, 2), (32, 8), (40, 8), (54, 2), (56, 2), (60, 2)]
    return set_field(rng, image, *rng.choice(fields))


@kind("elf.segments", lambda image: image.is_elf)
def _(rng: random.Random, image: Image) -> str:
    at, count = rng.choice([(0, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8)])
    start = image.headers + 56 * rng.randrange(image.header_count)
    return set_field(rng, image, start + at, count)


@kind("kdump.header", lambda image: image.is_kdump)
def _(rng: random.Random, image: Image) -> str:
    fields = [(8, 4), *((424 + 4 * i, 4) for i in range(10))]
    fields += [(image.block + 8 * i, 8) for i in range(13)]
    return "; ".join(
        set_field(rng, image, *rng.choice(fields)) for _ in range(rng.choice([1, 1, 3]))
    )


@kind("kdump.bitmap", lambda image: image.is_kdump)
def _(rng: random.Random, image: Image) -> str:
    start, size = image.bitmap
    count = rng.choice([1, 8, 100])
    for _ in range(count):
        at = start + rng.randrange(size)
        image.write(at, bytes([image.read(1, at)[0] ^ 1 << rng.randrange(8)]))
    return f"{count} bits"


@kind("kdump.descriptors", lambda image: image.is_kdump and bool(image.targets))
def _(rng: random.Random, image: Image) -> str:
    count = rng.choice([1, 10, 300])
    field = rng.choice([(0, 8), (8, 4), (12, 4), (16, 8)])
    for _ in range(count):
        place = image.descriptors.get(rng.choice(image.targets[_group(rng, image)])[1] // PAGE)
        if place is not None:
            set_field(rng, image, place + field[0], field[1])
    return f"{count}: field at {field[0]}"


@kind("notes")
def _(rng: random.Random, image: Image) -> str:
    at, size = image.notes
    where = at + rng.randrange(size)
    what = rng.choice([1, 8, 64, size])
    data = rng.choice([bytes(what), rng.randbytes(what), b"\xff" * what])[: at + size - where]
    image.write(where, data)
    return f"{len(data)} bytes @{where:#x}"


@kind("vmcoreinfo")
def _(rng: random.Random, image: Image) -> str:
    at, size = image.notes
    raw = image.read(size, at)
    found = list(re.finditer(rb"^([A-Z][\w().-]*)=(.*)$", raw, re.MULTILINE))
    said = []
    for line in rng.sample(found, min(len(found), rng.choice([1, 1, 3]))):
        value = line[2]
        new = rng.choice(
            [b"0", b"-1", b"", b"f" * len(value), rng.randbytes(len(value)), value[::-1]]
        )
        image.write(at + line.start(2), new[: len(value)].ljust(len(value), b" "))
        said.append(line[0].decode("ascii", "replace"))
    return "; ".join(said)


@kind("truncate")
def _(rng: random.Random, image: Image) -> str:
    edges = [0, 1, 8, 64, PAGE, image.notes[0], sum(image.notes), image.size - 1]
    size = rng.choice([rng.choice(edges), rng.randrange(image.size), rng.randrange(image.size)])
    image.truncate(size)
    return f"to {size} of {image.size}"


@kind("shrinks")
def _(rng: random.Random, image: Image) -> str:
    """Somebody copies the file anew while it is read."""
    size = rng.randrange(image.size)
    image.plan(size, None)
    return f"to {size} of {image.size}"


@kind("bits")
def _(rng: random.Random, image: Image) -> str:
    count = rng.choice([1, 10, 100, 1000])
    for _ in range(count):
        at = rng.randrange(image.size)
        image.write(at, bytes([image.read(1, at)[0] ^ 1 << rng.randrange(8)]))
    return f"{count} bits"


# --- memory


def _group(rng: random.Random, image: Image) -> str:
    return rng.choice(sorted(image.targets))


@kind("pages.lost")
def _(rng: random.Random, image: Image) -> str:
    """Holes, as a bad copy leaves them."""
    share = rng.choice([0.001, 0.01, 0.05, 0.2])
    for page in rng.sample(image.pages, max(1, int(share * len(image.pages)))):
        image.lose(page * PAGE)
    return f"{share:.1%} of {len(image.pages)} pages"


@kind("pages.filled")
def _(rng: random.Random, image: Image) -> str:
    fill, count = rng.choice([b"\0", b"\xff", b"\x6b"]), rng.choice([1, 16, 256])
    for page in rng.sample(image.pages, min(count, len(image.pages))):
        image.poke(page * PAGE, fill * PAGE)
    return f"{count} pages with {fill[0]:#x}"


@kind("pages.swapped")
def _(rng: random.Random, image: Image) -> str:
    """Pages with what belongs to others: of a bad copy, of a bad bitmap."""
    count = rng.choice([1, 16, 256])
    for page in rng.sample(image.pages, min(count, len(image.pages))):
        image.poke(page * PAGE, image.peek(rng.choice(image.pages) * PAGE, PAGE))
    return f"{count} pages"


@kind("group.lost", lambda image: bool(image.targets))
def _(rng: random.Random, image: Image) -> str:
    group, share = _group(rng, image), rng.choice([0.02, 0.3, 1.0])
    pages = sorted({physical & -PAGE for _, physical, _ in image.targets[group]})
    for page in pages:
        if rng.random() < share:
            image.lose(page)
    return f"{share:.0%} of {len(pages)} pages of {group}"


def _bend(rng: random.Random, image: Image, group: str) -> str:
    """Change one aligned word of a group."""
    start, physical, size = rng.choice(image.targets[group])
    offset = rng.randrange(0, max(1, size - 7), 8)
    old = image.word(physical + offset)
    if old is None:
        return "-"
    other = rng.choice(image.targets[group])
    new = {
        "bit": old ^ 1 << rng.randrange(64),
        "zero": 0,
        "ones": _ALL,
        "self": start + offset,
        "neighbour": other[0] + rng.randrange(0, max(1, other[2] - 7), 8),
        "stranger": rng.choice(image.targets[_group(rng, image)])[0],
        "user": 0x7F00_0000_1000 + 8 * rng.randrange(512),
        "poison": 0xDEAD_0000_0000_0100,
        "next": old + 8,
        "small": rng.randrange(1 << rng.choice([1, 8, 16, 32])),
        "garbage": rng.getrandbits(64),
    }
    how = rng.choice(sorted(new))
    image.poke(physical + offset, words(new[how]))
    return f"{how}@{start + offset:#x}"


def _of_memory(group: str) -> None:
    @kind(f"mem.{group}", lambda image: bool(image.targets.get(group)))
    def _(rng: random.Random, image: Image) -> str:
        count = rng.choice([1, 1, 2, 4, 16, 64, 400])
        said = [_bend(rng, image, group) for _ in range(count)]
        return f"{count}: " + " ".join(said[:3])


for _name in (
    *("text", "orc", "orc.ip", "btf", "printk.head", "printk.desc", "printk.info", "printk.text"),
    *("task.list", "task.key", "task.whole", "stack.sleeping", "stack.running", "pids"),
    *("tree.pid", "tree.workers", "tree.btf", "tree.irqs", "locks", "rq", "percpu", "module"),
    *("time", "rcu", "globals", "fs", "slab", "workers", "btf.module", "vmcoreinfo.page"),
    *("kallsyms.names", "kallsyms.tokens", "kallsyms.offsets", "pagetables"),
):
    _of_memory(_name)


def _aimed(name: str, damage: Callable[[random.Random, Image, str], None]) -> None:
    """One word, or two, that an analysis leans on."""
    group = f"aim.{name}"

    @kind(f"aimed.{name}", lambda image: bool(image.targets.get(group)))
    def _(rng: random.Random, image: Image) -> str:
        damage(rng, image, group)
        return f"{len(image.targets[group])} x {name}"


def _to(data: bytes) -> Callable[[random.Random, Image, str], None]:
    return lambda rng, image, group: image.poke(image.targets[group][0][1], data)


def _flip(rng: random.Random, image: Image, group: str) -> None:
    _, physical, _ = rng.choice(image.targets[group])
    image.poke(physical, words((image.word(physical) or 0) ^ 1 << rng.randrange(30, 60)))


def _itself(rng: random.Random, image: Image, group: str) -> None:
    """Every word points at the first extent: a list, a path or a tree without an end."""
    start = image.targets[group][0][0]
    for _, physical, size in image.targets[group]:
        image.poke(physical, words(start) * (size // 8))


def _own_child(rng: random.Random, image: Image, group: str) -> None:
    """A tree's node leads to itself; no list of tasks, so that the tree is asked."""
    tree = image.targets[group.removeprefix("aim.")]
    node = next(extent[0] for extent in tree if extent[2] > 8)
    for _, physical, size in image.targets[group]:
        image.poke(physical, words(node | 2) * (size // 8))
    start, physical, _ = image.targets["aim.tasks"][0]
    image.poke(physical, words(start, start))


def _wild(rng: random.Random, image: Image, group: str) -> None:
    """Every CPU jumped to no code, and its stack is full of pointers to no code."""
    start, physical, size = max(image.targets[group], key=lambda extent: extent[2])
    image.poke(physical, words(start + 8) * (size // 8))
    at, end = image.notes[0], sum(image.notes)
    while at + 12 < end:
        name, data, kind = struct.unpack("<III", image.read(12, at))
        if kind == 1 and image.read(4, at + 12) == b"CORE":
            # struct elf_prstatus: pr_reg at 112, in the order of struct user_regs_struct.
            registers = at + 12 + 8 + 112
            for number, value in ((16, start + 8), (17, 0x10), (19, start)):
                image.write(registers + 8 * number, words(value))
        at += 12 + (name + 3 & ~3) + (data + 3 & ~3)


_aimed("panic_cpu", _to(bytes(4)))
for _name in ("nr_cpu_ids", "nr_node_ids", "watchdog_thresh"):
    _aimed(_name, _to(b"\xff" * 4))
_aimed("rq.curr", _to(bytes(8)))
for _name in ("tail_id", "rq.clock"):
    _aimed(_name, _flip)
for _name in ("thread", "mount"):
    _aimed(_name, _itself)
_aimed("stack", _wild)
for _name in ("tree.pid", "tree.workers", "tree.btf", "tree.irqs"):
    _aimed(_name, _own_child)

_PAYLOADS = (
    *(b"\x1b[31mRED\x1b[0m", b"\x1b]0;pwn\x07", b"<pwn x=1>", b"</script><pwn>", b"a\nb\r\nc"),
    *(b'"><img src=x onerror=alert(1)>', b"\xff\xfe\xc3", b"\x9b31m\x9d", b"[bold red]x[/]"),
    *("\u202egnp.exe".encode(), "\u2066\u200f\u200b".encode(), b"%s%n{0}{{}}", b"]]><pwn/>"),
)


def _of_text(group: str) -> None:
    @kind(f"text.{group}", lambda image: bool(image.targets.get(group)))
    def _(rng: random.Random, image: Image) -> str:
        said = b""
        for _ in range(rng.choice([1, 3, 50])):
            _, physical, size = rng.choice(image.targets[group])
            said = rng.choice(_PAYLOADS)[: size - 1]
            image.poke(physical + rng.randrange(max(1, size - len(said))) // 8 * 8, said)
        return repr(said)


for _name in ("text.comm", "text.module", "text.uts", "printk.text"):
    _of_text(_name)


@kind("live", lambda image: bool(image.targets))
def _(rng: random.Random, image: Image) -> str:
    """Words change while they are read."""
    for _ in range(rng.choice([50, 500])):
        start, physical, size = rng.choice(image.targets[_group(rng, image)])
        at = image.where(physical + rng.randrange(0, max(1, size - 7), 8))
        if at is not None:
            image.plan(at, rng.choice([rng.randbytes(8), bytes(8), words(start)]))
    return f"{len(image.live)} words"
