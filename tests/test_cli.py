"""The command line: what it prints where, and with which exit status it leaves."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import postmortem
from postmortem import __version__, cli
from postmortem.cli.output import open_output
from postmortem.errors import UnknownInputError, UnreadableInputError, UsageError
from postmortem.model.result import Analysis
from tests.render.samples import CRASH, HEALTHY

Run = Callable[..., int]


@dataclass
class Fake:
    """Stands for postmortem.open(): gives ``result`` and remembers what it was asked."""

    result: Analysis | BaseException = HEALTHY
    paths: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    plugin: str | None = None
    plugin_options: dict[str, object] = field(default_factory=dict)

    def open(self, paths: Sequence[str], **options: Any) -> Fake:
        self.paths, self.options = list(paths), options
        return self

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def analyze(self, *, pictures: bool = False) -> Analysis:
        if isinstance(self.result, BaseException):
            raise self.result
        path = str(self.paths[0])
        return replace(self.result, input=replace(self.result.input, path=path))

    def run(self, name: str, **options: object) -> Analysis:
        self.plugin, self.plugin_options = name, options
        return self.analyze()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    fake = Fake()
    monkeypatch.setattr(postmortem, "open", fake.open)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("POSTMORTEM_DEBUG", raising=False)
    return fake


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(args)
    assert isinstance(left.value.code, int)
    return left.value.code


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr: one sentence of ours, and at most click's hint after it."""
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("postmortem: ")
    assert all(line.startswith("Try 'postmortem") for line in lines[1:])
    return lines[0].removeprefix("postmortem: ")


# --- exit statuses


def test_analysed_is_0(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("analyze", "vmcore") == 0
    assert capsys.readouterr().out.startswith("no crash")


def test_analysed_with_limits_is_1(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.result = CRASH
    assert run("analyze", "vmcore") == 1
    assert "1 thing limits this answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("wrong vmlinux"), 2),
        (UnknownInputError("not a dump"), 3),
        (UnreadableInputError("no permission"), 4),
    ],
)
def test_an_error_is_one_sentence_and_its_status(
    fake: Fake, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    fake.result = error
    assert run("analyze", "vmcore") == status
    assert sentence(capsys) == str(error)


def test_an_error_can_not_inject_escapes(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.result = UnknownInputError("\x1b[2Jfile is not a dump")
    run("analyze", "x")
    assert sentence(capsys) == r"\x1b[2Jfile is not a dump"


@pytest.mark.parametrize(
    "args",
    [
        ("analyze",),
        ("analyze", "--unknown", "x"),
        ("nonsense", "x"),
        ("decode", "--arch", "pdp11"),
        ("plugins", "--plugin", __file__),
        ("analyze", "--json", "-o", "x.html", "vmcore"),
        ("analyze", "-o", "/nowhere/x", "vmcore"),
        ("plugins", "--plugin", "/nowhere/x.py"),
    ],
)
def test_a_bad_command_line_is_2(
    fake: Fake, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    assert run(*args) == 2
    sentence(capsys)


def test_a_defect_of_ours_is_70_without_traceback(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.result = ZeroDivisionError("oh")
    assert run("analyze", "x") == 70
    assert "ZeroDivisionError: oh" in sentence(capsys)


def test_debugging_shows_the_traceback(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTMORTEM_DEBUG", "1")
    fake.result = ZeroDivisionError("oh")
    with pytest.raises(ZeroDivisionError):
        cli.main(["analyze", "x"])


def test_control_c_is_130_and_silent(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.result = KeyboardInterrupt()
    assert run("analyze", "x") == 130
    out, err = capsys.readouterr()
    assert out + err.strip() == ""


def test_too_little_memory_is_said(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.result = MemoryError()
    assert run("analyze", "x") == 4
    assert "memory" in sentence(capsys)


# --- options and outputs


def test_options_reach_the_analysis(fake: Fake) -> None:
    run(
        "analyze", "--vmlinux", "v", "--btf", "t", "--debug-dir", "a", "--debug-dir", "b",
        "--no-debuginfod", "--plugin", "p.py", "one", "two",
    )  # fmt: skip
    assert fake.paths == ["one", "two"]
    asked = {name: value for name, value in fake.options.items() if name != "progress"}
    assert asked == {
        "vmlinux": "v",
        "btf": "t",
        "debug_dirs": ("a", "b"),
        "debuginfod": False,
        "plugin_files": ("p.py",),
    }


def test_json_is_one_document(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    run("analyze", "--json", "vmcore")
    assert json.loads(capsys.readouterr().out)["schema"] == "postmortem/1"


@pytest.mark.parametrize(
    ("name", "start"), [("r.html", "<!DOCTYPE html>"), ("r.json", "{"), ("r.txt", "no crash")]
)
def test_the_name_of_the_output_chooses_the_format(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, start: str
) -> None:
    assert run("analyze", "-o", str(tmp_path / name), "vmcore") == 0
    assert (tmp_path / name).read_text().startswith(start)
    assert capsys.readouterr().out == ""


# --- commands and plugins


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"postmortem {__version__}\n"


def test_a_misspelt_command_gets_a_suggestion(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    run("analyse", "x")
    assert "did you mean 'analyze'?" in sentence(capsys)


def test_a_file_in_place_of_a_command_gets_a_suggestion(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vmcore"
    file.touch()
    run(str(file))
    assert f"postmortem analyze {file}" in sentence(capsys)


@pytest.fixture
def plugin_file(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(
        "from postmortem.plugin import plugin\n"
        "@plugin('mine', needs=('dump',))\n"
        "def mine(ctx):\n"
        "    '''Looks at what is mine.'''\n"
        "    yield from ()\n"
    )
    return str(file)


def test_a_plugin_is_a_command(
    fake: Fake, plugin_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--plugin", plugin_file, "mine", "vmcore") == 0
    assert fake.plugin == "mine"
    assert fake.options["plugin_files"] == (plugin_file,)
    assert capsys.readouterr().out == "nothing to report\n"


OPTIONS = """
from enum import Enum
from postmortem.model.findings import Text
from postmortem.plugin import option, plugin

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

@plugin("opted", options=(
    option("--seconds", type=float, default=2.5, help="How long."),
    option("--only-red", type=bool, help="No other."),
    option("--colour", type=Colour, default=Colour.RED),
))
def opted(ctx, *, seconds, only_red, colour):
    '''Says what it was given.'''
    yield Text("given", (f"{seconds!r} {only_red} {colour.name}",))
"""


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ((), "2.5 False RED"),
        (("--seconds", "3", "--only-red", "--colour", "blue"), "3.0 True BLUE"),
    ],
)
def test_options_that_a_plugin_declares_are_the_command_s(
    tmp_path: Path, logs: Path, capsys: pytest.CaptureFixture[str], args: Sequence[str], given: str
) -> None:
    file = tmp_path / "opted.py"
    file.write_text(OPTIONS)
    assert run("--plugin", str(file), "opted", *args, str(logs / "b-oops.log")) == 0
    assert capsys.readouterr().out == f"{given}\n"


@pytest.mark.parametrize("args", [("--seconds", "soon"), ("--colour", "green"), ("--size", "1")])
def test_a_wrong_option_of_a_plugin_is_2(
    tmp_path: Path, logs: Path, capsys: pytest.CaptureFixture[str], args: Sequence[str]
) -> None:
    file = tmp_path / "opted.py"
    file.write_text(OPTIONS)
    assert run("--plugin", str(file), "opted", *args, str(logs / "b-oops.log")) == 2
    sentence(capsys)


def test_its_options_are_in_its_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "opted.py"
    file.write_text(OPTIONS)
    assert run("--plugin", str(file), "opted", "--help") == 0
    out = capsys.readouterr().out
    assert "--seconds" in out
    assert "How long." in out
    assert "red|blue" in out


def test_its_docstring_is_its_help(
    fake: Fake, plugin_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--plugin", plugin_file, "mine", "--help") == 0
    assert "Looks at what is mine." in capsys.readouterr().out


def test_plugins_are_listed(
    fake: Fake, plugin_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plugins", "--plugin", plugin_file) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("mine ")]
    assert "dump" in line
    assert "Looks at what is mine." in line


def test_plugins_are_listed_for_machines(
    fake: Fake, plugin_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("plugins", "--json", "--plugin", plugin_file)
    listed = json.loads(capsys.readouterr().out)["plugins"]
    (mine,) = [item for item in listed if item["name"] == "mine"]
    assert mine["needs"] == ["dump"]


# --- logs

OOPS = """\
[    1.000000] Linux version 6.1.0 (gcc) #1 SMP
[    3.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    3.000001] #PF: supervisor read access in kernel mode
[    3.000002] Oops: 0000 [#1] PREEMPT SMP NOPTI
[    3.000003] CPU: 1 PID: 119 Comm: trigger Not tainted 6.1.0 #1
[    3.000004] RIP: 0010:pm_peer_port+0x5/0x10 [pm_fault]
[    3.000005] Call Trace:
[    3.000006]  <TASK>
[    3.000007]  pm_session_connect+0xe/0x20 [pm_fault]
[    3.000008]  vfs_write+0xc7/0x3f0
[    3.000009]  </TASK>
[    3.000010] ---[ end trace 0000000000000000 ]---
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a-quiet.log").write_text("[    1.000000] Linux version 6.1.0 (gcc) #1 SMP\n")
    (folder / "b-oops.log").write_text(OOPS)
    return folder


def test_all_logs_of_a_folder_are_listed(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log", str(logs)) == 0
    quiet, oops = capsys.readouterr().out.split(f"{logs}/b-oops.log\n")
    assert quiet == f"{logs}/a-quiet.log\n  no kernel report\n"
    assert oops.startswith("      line 2  BUG: unable to handle kernel NULL pointer dereference in")


def test_logs_for_machines_are_a_line_each(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log", "--jsonl", str(logs)) == 0
    quiet, oops = map(json.loads, capsys.readouterr().out.splitlines())
    assert (quiet["path"], quiet["reports"]) == (f"{logs}/a-quiet.log", [])
    (report,) = oops["reports"]
    assert (report["kind"], report["guilty"]) == ("null-dereference", "pm_peer_port")


def test_a_log_that_is_not_there_does_not_keep_the_others_from_their_answer(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("log", "--jsonl", "/nowhere/x.log", str(logs / "b-oops.log")) == 1
    out, err = capsys.readouterr()
    absent, oops = map(json.loads, out.splitlines())
    assert absent["path"] == "/nowhere/x.log"
    assert "No such file" in absent["problems"][0]["why"]
    assert len(oops["reports"]) == 1
    assert "/nowhere/x.log does not exist" in err


def test_a_log_that_is_not_there_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log", "/nowhere/x.log") == 4
    assert "does not exist" in sentence(capsys)


def paste(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_pasted_code_line_is_disassembled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # 0f 1f 44 00 00 is nopl, 8b 47 08 is mov 0x8(%rdi),%eax (Intel SDM, MOV r32, r/m32).
    paste("Code: 0f 1f 44 00 00 <8b> 47 08 c3", monkeypatch)
    assert run("decode") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "->" in x]
    assert "8b 47 08" in line
    assert "mov" in line


def test_a_pasted_trace_is_decoded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paste(OOPS, monkeypatch)
    assert run("decode") == 0
    out = capsys.readouterr().out
    assert out.startswith("BUG: unable to handle kernel NULL pointer dereference in pm_peer_port")
    assert "pm_session_connect+0xe [pm_fault]" in out


def test_a_paste_is_decoded_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paste("Code: 0f 1f 44 00 00 <8b> 47 08 c3", monkeypatch)
    run("decode", "--json")
    assert json.loads(capsys.readouterr().out)["code"]["data"] == "0f1f4400008b4708c3"


def test_a_paste_of_something_else_is_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paste("hello", monkeypatch)
    assert run("decode") == 3
    assert "no Code: line" in sentence(capsys)


@pytest.mark.parametrize("name", ["arm64", "aarch64", "ARM64"])
def test_an_architecture_may_be_called_as_the_kernel_or_uname_calls_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    # f9400401 is ldr x1, [x0, #8] (Arm ARM, LDR immediate).
    paste("Code: d503201f (f9400401)", monkeypatch)
    assert run("decode", "--arch", name, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["code"]["arch"] == "aarch64"
    assert "x1, [x0, #8]" in found["instructions"][-1]["text"]


# --- what is written where


@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link"])
@pytest.mark.parametrize("command", ["analyze", "log"])
def test_an_input_is_not_written_over(
    logs: Path, capsys: pytest.CaptureFixture[str], command: str, how: str
) -> None:
    log, other = logs / "b-oops.log", logs.parent / "out"
    if how == "symbolic link":
        other.symlink_to(log)
    elif how == "hard link":
        other.hardlink_to(log)
    else:
        other = log
    assert run(command, "-o", str(other), str(log)) == 2
    assert "would overwrite the input" in sentence(capsys)
    assert log.read_text() == OOPS


def test_a_log_in_a_folder_is_not_written_over(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("log", "-o", str(logs / "b-oops.log"), str(logs)) == 2
    assert (logs / "b-oops.log").read_text() == OOPS


def test_a_failure_leaves_the_old_output_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), open_output(str(target)) as file:
        file.write("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_output_keeps_the_mode_and_the_link_of_the_old(tmp_path: Path) -> None:
    target, link = tmp_path / "report", tmp_path / "latest"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with open_output(str(link)) as file:
        file.write("new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)


def test_what_is_no_file_is_written_to_as_it_is(logs: Path) -> None:
    assert run("analyze", "-o", "/dev/null", str(logs / "b-oops.log")) == 0
    assert Path("/dev/null").is_char_device()


# --- the process


def process(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", *args], capture_output=True, text=True, check=False, **options
    )


def test_help_imports_nothing_heavy() -> None:
    done = process(
        "import sys\n"
        "from postmortem.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    heavy = {'drgn', 'capstone', 'rich', 'elftools', 'postmortem.log.scan'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    assert done.stderr == "[]\n"
    assert "analyze" in done.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "postmortem", "plugins"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_help_that_nobody_reads_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "postmortem", "--help"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_file_may_be_closed(logs: Path, closed: str) -> None:
    command = f"exec {sys.executable} -m postmortem log {logs}/b-oops.log {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("NULL pointer" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.parametrize("home", ["/proc/self/mem", "/nowhere/at/all"])
def test_a_home_that_can_not_be_read_has_no_plugins(home: str) -> None:
    """A file in place of a folder answers as a folder without permission: with an OSError."""
    env = {**os.environ, "HOME": home}
    env.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "postmortem", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_to_end_leaves_no_half_of_an_output(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from postmortem.cli import root\n"
        "from postmortem.cli.output import open_output\n"
        "def begun(*args, **options):\n"
        "    with open_output(sys.argv[1]) as file:\n"
        "        file.write('half')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "root.cli.main = begun\n"
        "sys.exit(root.run([]))\n"
    )
    done = process(code, str(tmp_path / "report"))
    assert (done.returncode, done.stderr) == (143, "")
    assert list(tmp_path.iterdir()) == []


def test_an_endless_plugin_is_named_when_it_is_interrupted(tmp_path: Path, logs: Path) -> None:
    file = tmp_path / "endless.py"
    file.write_text(
        "import os, signal\n"
        "from postmortem.plugin import plugin\n"
        "@plugin('endless')\n"
        "def endless(ctx):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    while True: pass\n"
        "    yield\n"
    )
    args = ["analyze", "--plugin", str(file), str(logs / "b-oops.log")]
    done = process("from postmortem.cli import main; main()", *args)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "postmortem: interrupted: plugin endless was running"


def pipe(command: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """A command line of bash with ``data`` on its standard input."""
    line = command.replace("postmortem", f"{sys.executable} -m postmortem", 1)
    return subprocess.run(["bash", "-c", line], input=data, capture_output=True, check=False)


@pytest.mark.parametrize(
    "command",
    ["postmortem analyze -", "cat | postmortem analyze -", "postmortem analyze <(cat)",
     "postmortem analyze <(gzip)", "gzip | postmortem analyze -", "postmortem analyze /dev/stdin"],
)  # fmt: skip
def test_a_log_from_a_pipe_is_a_log(command: str) -> None:
    # bash closes the standard input of a command in the background, not of <(cat).
    done = pipe(command, OOPS.encode())
    assert done.returncode == 0, done.stderr
    assert b"NULL pointer dereference in pm_peer_port" in done.stdout


DUMP = next((Path(__file__).parents[1] / "corpus" / "dumps").glob("6.12-null-chain.vmcore*"))


@pytest.mark.parametrize(
    "command", ["postmortem analyze --json -", "postmortem analyze --json <(cat)"]
)
def test_a_dump_from_a_pipe_is_a_dump_and_nothing_is_left(tmp_path: Path, command: str) -> None:
    done = pipe(f"TMPDIR={tmp_path} {command}", DUMP.read_bytes())
    document = json.loads(done.stdout)
    assert document["verdict"]["kind"] == "null-dereference"
    assert not document["input"]["path"].startswith("/proc")
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_standard_input_is_redirected_from_is_not_copied(tmp_path: Path) -> None:
    command = f"TMPDIR={tmp_path}/absent postmortem analyze --json - < {DUMP}"
    document = json.loads(pipe(command, b"").stdout)
    assert document["input"]["path"] == "standard input"
    assert document["verdict"]["kind"] == "null-dereference"


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "is empty"), (b"\0" * 100_000, "is neither"), (bytes(range(256)) * 500, "is neither")],
)
def test_what_comes_through_a_pipe_and_is_nothing_is_refused(data: bytes, says: str) -> None:
    done = pipe("cat | postmortem analyze -", data)
    assert done.returncode == 3
    assert done.stderr.decode().startswith("postmortem: standard input ")
    assert says in done.stderr.decode()


def test_an_endless_input_is_not_kept() -> None:
    done = pipe("postmortem analyze - < /dev/zero", b"")
    assert done.returncode == 3


def test_a_full_disk_is_said() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", "postmortem", "plugins"],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("postmortem: standard output can't be written")
