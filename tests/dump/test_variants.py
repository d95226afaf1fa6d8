"""A real kernel's dump in every form that makedumpfile writes, and cut off anywhere."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import drgn
import pytest

from corpus import tools
from corpus.kernels import FetchError, default_cache
from corpus.variants import FORMS, SPECIAL, make
from postmortem.dump.core import Core, open_core
from postmortem.inputs.recognise import InputKind, recognise

pytestmark = pytest.mark.capture

DUMPS = [("6.1.", "sysrq-crash"), ("6.12.", "sysrq-crash")]


@pytest.fixture(scope="module", params=DUMPS, ids=lambda dump: dump[0] + dump[1])
def whole(request: pytest.FixtureRequest) -> Path:
    """QEMU's ELF dump with every page."""
    release, scenario = request.param
    found = sorted(default_cache().glob(f"{release}*/{scenario}/vmcore"))
    if not found:
        pytest.skip(f"no capture of {scenario} on {release}")
    return found[0]


@pytest.fixture(scope="module")
def forms(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``vmcore.FORM`` for every form."""
    folder = tmp_path_factory.mktemp("forms")
    try:
        program = tools.makedumpfile(default_cache())
    except FetchError as error:
        pytest.skip(str(error))
    make(program, whole, folder, [*FORMS, *SPECIAL])
    return folder


def named(folder: Path, form: str) -> Path:
    return folder / ("vmcore.split-2" if form == "split" else f"vmcore.{form}")


def samples(core: Core) -> list[int]:
    pages = [at for r in core.saved_ranges() for at in range(r.start, r.end, 4096)]
    return random.Random(1).sample(pages, 400)


@pytest.mark.parametrize("form", [form for form in (*FORMS, *SPECIAL) if form != "dmesg"])
def test_every_form_has_the_memory_of_the_whole(whole: Path, forms: Path, form: str) -> None:
    truth, core = open_core(whole), open_core(named(forms, form))
    assert core.info.build_id == truth.info.build_id
    assert core.info.complete is (form != "incomplete")
    wrong = []
    for address in samples(core):
        try:
            if core.read_physical(address, 4096) != truth.read_physical(address, 4096):
                wrong.append(address)
        except drgn.FaultError:
            assert form == "incomplete"
    assert wrong == []
    if form != "incomplete":
        start = int(core.info.vmcoreinfo["SYMBOL(_stext)"], 16)
        assert core.program.read(start, 1 << 16) == truth.program.read(start, 1 << 16)


def test_the_text_that_makedumpfile_takes_out_is_a_log(forms: Path) -> None:
    assert recognise([forms / "vmcore.dmesg"]).kind is InputKind.LOG


CUT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
import drgn
from postmortem.dump.core import open_core
from postmortem.errors import PostmortemError

path = sys.argv[1]
for length in map(int, sys.argv[2:]):
    print(length, flush=True)
    os.truncate(path, length)
    try:
        core = open_core(path)
    except PostmortemError as error:
        assert str(error).isprintable(), error
        continue
    assert not core.info.complete
    for name in ("_stext", "init_uts_ns"):
        try:
            core.program.read(int(core.info.vmcoreinfo[f"SYMBOL({name})"], 16), 4096)
        except drgn.FaultError:
            pass
    for _ in core.chunks():
        pass
    del core
"""


@pytest.mark.parametrize("form", ["lzo", "uncompressed", "flattened", "elf"])
def test_it_may_end_anywhere(forms: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(named(forms, form).read_bytes())
    size = path.stat().st_size
    choose = random.Random()
    lengths = {choose.randrange(size) for _ in range(12)}
    lengths |= {choose.randrange(min(size, 1 << 17)) for _ in range(12)}
    ordered = [str(length) for length in sorted(lengths, reverse=True)]
    run = subprocess.run(
        [sys.executable, "-c", CUT, path, *ordered], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, f"at {run.stdout.split()[-1]}: {run.stderr[-600:]}"
    path.unlink()
