"""Damage is the same for the same seed, and undone without a trace."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from postmortem.dump import selfdescribe
from postmortem.dump.btf import BtfError
from tests.dump.images import kdump, pages_of, qemu_elf, vmcoreinfo
from tests.fuzz import campaign
from tests.fuzz.dumps import containers  # noqa: F401 - more kinds
from tests.fuzz.dumps.child import Row
from tests.fuzz.dumps.damage import KINDS
from tests.fuzz.dumps.image import PAGE, Image
from tests.fuzz.dumps.warm import keep_types
from tests.fuzz.fuzz_dump import Case

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


def test_only_the_very_same_types_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selfdescribe.__dict__["Btf"]
    monkeypatch.setattr(selfdescribe, "Btf", real)
    keep_types()
    kept = selfdescribe.__dict__["Btf"]
    # struct btf_header, then one integer: BTF_KIND_INT is 1, named "int", of 4 bytes.
    types = bytes.fromhex("01000000 00000001 04000000 20000000")
    whole = bytes.fromhex("9feb0100 18000000 00000000 10000000 10000000 05000000") + types
    whole += b"\0int\0"
    assert kept(whole) is kept(bytes(bytearray(whole)))
    other = whole[:-2] + b"x\0"
    assert kept(other) is not kept(whole)
    assert kept(whole, holes=((24, 28),)) is not kept(whole)
    for _ in range(2):
        with pytest.raises(BtfError):
            kept(whole[:20])


def test_a_campaign_remembers_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Case("a/vmcore", 1, "bits", "3 bits", Row("problems"), ())
    calm = Case("b/vmcore", 2, "truncate", "to 5", Row("ok", kind="none"), ("calm",))
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(asdict(case)) + "\n" for case in (good, calm)))
    assert campaign.main(["--table", str(file)]) == 1
    out = capsys.readouterr().out
    assert "--seed 2 --kind truncate --count 1 -v b/vmcore: ['ok', 'calm']" in out
    assert "--seed 1 " not in out and "2 cases, 1 failed" in out
