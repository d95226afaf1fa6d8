"""Nothing is written outside of the folder, and nothing half."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.errors import UsageError
from postmortem.triage.folder import Folder


def test_pages_are_there_and_nothing_else(tmp_path: Path) -> None:
    with Folder(tmp_path / "a" / "b") as folder:
        folder.write("index.html", "one")
        folder.write("bucket/7.html", "two")
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a/b/index.html", "a/b/bucket/7.html"}
    assert (tmp_path / "a/b/bucket/7.html").read_text() == "two"


def test_a_page_that_is_the_same_is_left_alone(tmp_path: Path) -> None:
    for text, counts in (("x", (1, 0)), ("x", (0, 1)), ("y", (1, 0))):
        with Folder(tmp_path) as folder:
            folder.write("index.html", text)
            assert (folder.written, folder.same) == counts
    assert (tmp_path / "index.html").read_text() == "y"


@pytest.mark.parametrize(
    "name", ["../x.html", "/etc/x", "a/b/c", "", "a/../../x", ".hidden", "a\nb", "Ä.html", "a/"]
)
def test_what_is_no_name_of_a_page_is_refused(tmp_path: Path, name: str) -> None:
    with Folder(tmp_path / "pages") as folder, pytest.raises(ValueError, match="no name"):
        folder.write(name, "x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_link_instead_of_a_folder_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "bucket").symlink_to(outside)
    with Folder(tmp_path / "pages") as folder, pytest.raises(UsageError, match="can't be written"):
        folder.write("bucket/7.html", "x")
    assert list(outside.iterdir()) == []


def test_a_link_instead_of_a_page_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine!")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").symlink_to(target)
    with Folder(tmp_path / "pages") as folder:
        folder.write("index.html", "page!")
    assert target.read_text() == "mine!"
    assert (tmp_path / "pages" / "index.html").read_text() == "page!"
    assert not (tmp_path / "pages" / "index.html").is_symlink()


def test_a_place_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        Folder(tmp_path / "file")


def test_a_folder_instead_of_a_page_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with Folder(tmp_path) as folder, pytest.raises(UsageError, match="can't be written"):
        folder.write("index.html", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
