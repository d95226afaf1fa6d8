"""Damage is the same for the same seed, and undone without a trace."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.dump.images import kdump, pages_of, qemu_elf, vmcoreinfo
from tests.fuzz.dumps import containers  # noqa: F401 - more kinds
from tests.fuzz.dumps.damage import KINDS
from tests.fuzz.dumps.image import PAGE, Image

MEMORY = random.Random(1).randbytes(32 * PAGE)
DUMPS = {
    "elf": lambda: qemu_elf(MEMORY, vmcoreinfo()),
    "kdump": lambda: kdump(pages_of(MEMORY), 32, vmcoreinfo()),
}


@pytest.fixture(params=sorted(DUMPS))
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    path = tmp_path / "vmcore"
    path.write_bytes(DUMPS[request.param]())
    found = Image(path)
    # Wherever it lies: every kind has something to damage.
    extents = [(0xFFFF_8880_0000_0000 + at, at, 256) for at in range(0, 16 * PAGE, PAGE)]
    aims = (
        "thread",
        "mount",
        "tasks",
        "rq.curr",
        "rq.clock",
        "tail_id",
        "tree.pid",
        "panic_cpu",
        "stack",
    )
    found.targets = dict.fromkeys(
        ("text.comm", "printk.text", "task.list", "tree.pid", *(f"aim.{name}" for name in aims)),
        extents,
    )
    return found


def test_every_kind_can_be_replayed_and_undone(image: Image) -> None:
    whole = image.path.read_bytes()
    whole_folder = list(image.path.parent.iterdir())
    for name, kind in KINDS.items():
        if not kind.fits(image):
            continue
        damaged = []
        for _ in range(2):
            said = kind.damage(random.Random(name), image)
            made = [path.read_bytes() for path in (image.path, *image.paths)]
            damaged.append((said, made, list(image.live)))
            image.restore()
            assert list(image.path.parent.iterdir()) == whole_folder
            assert image.path.read_bytes() == whole, name
        assert damaged[0] == damaged[1], name
        assert damaged[0][1] != [whole, whole] or damaged[0][2], name


def test_memory_is_written_where_it_lies(image: Image) -> None:
    image.poke(3 * PAGE - 4, b"ABCDEFGH")
    assert (image.peek(3 * PAGE - 4, 8), image.peek(3 * PAGE, 4)) == (b"ABCD", b"EFGH")
