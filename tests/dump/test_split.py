"""The parts of a ``makedumpfile --split`` dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.dump.split import read_part
from postmortem.errors import UsageError
from postmortem.inputs.recognise import recognise

from . import images

MEMORY = images.machine()
PAGES = images.pages_of(MEMORY)
LIMIT = 1024


def part(folder: Path, name: str, start: int, end: int, **options: object) -> Path:
    image = images.kdump(
        PAGES,
        LIMIT,
        images.vmcoreinfo(),
        split=(start, end),
        **options,  # type: ignore[arg-type]
    )
    path = folder / name
    path.write_bytes(image)
    return path


def test_parts_are_put_in_the_order_of_memory(tmp_path: Path) -> None:
    c, a, b = (
        part(tmp_path, "c", 600, LIMIT),
        part(tmp_path, "a", 0, 300),
        part(tmp_path, "b", 300, 600),
    )
    found = recognise([c, a, b])
    assert (found.split, found.paths, found.missing_parts) == (True, (a, b, c), ())


def test_one_part_finds_the_others_beside_it(tmp_path: Path) -> None:
    first = part(tmp_path, "dump.1", 0, 500)
    second = part(tmp_path, "anything", 500, LIMIT)
    (tmp_path / "notes.txt").write_text("KDUMP   but not really")
    assert recognise([second]).paths == (first, second)


@pytest.mark.parametrize(
    ("ranges", "holes"),
    [
        ([(300, 600), (600, LIMIT)], ["0x0-0x12bfff (1 MiB)"]),
        ([(0, 300), (600, LIMIT)], ["0x12c000-0x257fff (1 MiB)"]),
        ([(0, 300)], ["0x12c000-0x3fffff (2 MiB)"]),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, ranges: list[tuple[int, int]], holes: list[str]
) -> None:
    for index, (start, end) in enumerate(ranges):
        part(tmp_path, str(index), start, end)
    missing = recognise([tmp_path / "0"]).missing_parts
    assert len(missing) == len(holes)
    assert all(hole in sentence for hole, sentence in zip(holes, missing, strict=True))


def test_empty_parts_of_a_small_dump_belong_to_it(tmp_path: Path) -> None:
    # makedumpfile gives all pages to the first part when there are few.
    part(tmp_path, "1", 0, LIMIT)
    part(tmp_path, "2", LIMIT, LIMIT)
    part(tmp_path, "3", LIMIT, LIMIT)
    found = recognise([tmp_path / "2"])
    assert found.missing_parts == ()
    assert tmp_path / "1" in found.paths


def test_another_copy_beside_it_is_left_alone(tmp_path: Path) -> None:
    first = part(tmp_path, "1", 0, 500)
    second = part(tmp_path, "2", 500, LIMIT)
    part(tmp_path, "copy-of-1", 0, 500)
    part(tmp_path, "other-split", 200, 700)
    assert recognise([first, second]).paths == (first, second)


@pytest.mark.parametrize("options", [{"timestamp": 1}, {"cpus": 3}, {"level": 31}])
def test_parts_of_different_dumps_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    first = part(tmp_path, "1", 0, 500)
    second = part(tmp_path, "2", 500, LIMIT, **options)
    with pytest.raises(UsageError, match="different dumps"):
        recognise([first, second])
    assert recognise([first]).paths == (first,)


@pytest.mark.parametrize(
    ("ranges", "why"), [([(0, 600), (500, LIMIT)], "overlaps"), ([(600, 100)], "impossible range")]
)
def test_ranges_that_contradict_are_refused(
    tmp_path: Path, ranges: list[tuple[int, int]], why: str
) -> None:
    paths = [part(tmp_path, str(i), start, end) for i, (start, end) in enumerate(ranges)]
    with pytest.raises(UsageError, match=why):
        recognise(paths)


def test_a_flattened_part_is_a_part(tmp_path: Path) -> None:
    path = part(tmp_path, "1", 0, 500)
    path.write_bytes(images.flattened(path.read_bytes()))
    found = read_part(path)
    assert found is not None
    assert found.header.end_pfn == 500


def test_an_ordinary_dump_is_no_part(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(images.kdump(PAGES, LIMIT, images.vmcoreinfo()))
    assert read_part(path) is None
    assert not recognise([path]).split
