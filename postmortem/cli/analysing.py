"""What every command does that analyses an input: open it, ask it, show the answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import postmortem
from postmortem.cli.output import check_output, open_output
from postmortem.cli.pager import open_paged
from postmortem.cli.supervisor import supervise
from postmortem.errors import EXIT_LIMITED, EXIT_OK
from postmortem.render.output import is_page
from postmortem.steps import notes

if TYPE_CHECKING:
    from postmortem.model.result import Analysis


def analyse(
    files: Sequence[str],
    *,
    plugin: str | None = None,
    options: Mapping[str, object] | None = None,
    plugin_files: Sequence[str] = (),
    vmlinux: str | None = None,
    btf: str | None = None,
    debug_dirs: Sequence[str] = (),
    debuginfod: bool = False,
    as_json: bool,
    output: str | None,
    verbose: bool,
    as_markdown: bool = False,
    redact: bool = False,
    pager: bool = True,
) -> int:
    """Analyse ``files``, or run one plugin on them, and write the answer; the exit status."""
    check_output(output, (*files, vmlinux, btf, *plugin_files))
    status = supervise(files, output)
    if status is not None:
        return status
    from postmortem.progress import Progress

    with (
        Progress(sys.stderr) as progress,
        postmortem.open(
            files,
            vmlinux=vmlinux,
            btf=btf,
            debug_dirs=debug_dirs,
            debuginfod=debuginfod,
            plugin_files=plugin_files,
            progress=progress,
        ) as case,
    ):
        for what, why in notes():
            case.problems.say(what, why)
        if plugin is None:
            analysis = case.analyze(pictures=is_page(output) and not as_json)
        else:
            analysis = case.run(plugin, **(options or {}))
    if redact:
        from postmortem.redact import redacted

        analysis = redacted(analysis)
    form = {
        "as_json": as_json,
        "as_markdown": as_markdown,
        "verbose": verbose,
        "plugin": plugin is not None,
    }
    paged = verbose and pager and output is None and not (as_json or as_markdown)
    _show(analysis, output, form, paged=paged)
    return EXIT_LIMITED if analysis.problems else EXIT_OK


def _show(analysis: Analysis, output: str | None, form: dict[str, bool], *, paged: bool) -> None:
    from postmortem.render.output import writer

    write = writer(analysis, output, **form)
    with open_paged() if paged else open_output(output) as file:
        write(file)
