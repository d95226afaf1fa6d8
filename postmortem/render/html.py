"""One HTML file that needs nothing else: for mail and bug trackers.

Every string passes :func:`_esc`; there is no script and no link in the page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import IO

from postmortem.model.findings import Block, Cell, Column, Evidence, Finding, Kind, Table, Text
from postmortem.model.result import Analysis, TaskStack
from postmortem.render import cells, words
from postmortem.render.clean import clean

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; margin-bottom: .2em; overflow-wrap: anywhere; }
h2 { font-size: 1.05em; margin: 1.6em 0 .4em; border-bottom: 1px solid #8884; }
pre, code, td, dd { font-family: ui-monospace, monospace; font-size: 13px; }
pre { overflow-x: auto; margin: .3em 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; margin: .4em 0; }
dt, .aside { opacity: .65; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .1em 1.2em .1em 0; }
.number { text-align: right; }
.bad h1, .mark { color: #c22; font-weight: bold; }
.none h1 { color: #282; }
.child { margin-left: 2em; }
summary { cursor: pointer; }
""".strip()


def print_html(analysis: Analysis, file: IO[str]) -> None:
    """Write the page to ``file``."""
    file.write(page(analysis))


def page(analysis: Analysis) -> str:
    """The whole page."""
    title = _esc(analysis.verdict.title)
    calm = analysis.verdict.kind is Kind.NONE
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style></head>",
            f'<body class="{"none" if calm else "bad"}">',
            f"<h1>{title}</h1>",
            *_verdict(analysis),
            *_machine(analysis),
            *_main(analysis),
            *_findings(analysis),
            *_blocks(analysis.blocks),
            *_tables(analysis.tables),
            *_texts(analysis.texts),
            *_cpus(analysis),
            *_reports(analysis),
            *_log(analysis),
            *_limits(analysis),
            "</body></html>",
            "",
        )
    )


def _esc(text: str) -> str:
    return html.escape(clean(text))


def _pre(lines: Iterable[str], mark: int | None = None) -> Iterator[str]:
    yield "<pre>"
    for number, line in enumerate(lines):
        yield f'<span class="mark">{_esc(line)}</span>' if number == mark else _esc(line)
    yield "</pre>"


def _definitions(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "<dl>"
    for label, value in pairs:
        yield f"<dt>{_esc(label.lower())}</dt><dd>{_esc(value)}</dd>"
    yield "</dl>"


def _verdict(analysis: Analysis) -> Iterator[str]:
    verdict = analysis.verdict
    culprit = verdict.culprit
    pairs = []
    if verdict.kind is not Kind.NONE:
        pairs.append(("kind", words.verdict_line(verdict)))
    if culprit.function or culprit.module:
        module = f" [{culprit.module}]" if culprit.module else ""
        where = words.source(culprit.file, culprit.line)
        at = f" at {where}" if where else ""
        pairs.append(("culprit", f"{culprit.function or words.ABSENT}{module}{at}"))
    if culprit.task or culprit.cpu is not None:
        pairs.append(("task", words.task_and_cpu(culprit)))
    yield from _definitions(pairs)
    yield f"<p>{_esc(verdict.summary)}</p>"
    yield from _evidence(verdict.evidence, "How we know")
    if verdict.next_steps:
        yield "<h2>What to look at next</h2><ol>"
        for step in verdict.next_steps:
            yield f"<li>{_esc(step)}</li>"
        yield "</ol>"


def _evidence(evidence: tuple[Evidence, ...], title: str = "") -> Iterator[str]:
    if not evidence:
        return
    yield f"<h2>{_esc(title)}</h2><ul>" if title else "<ul>"
    for item in evidence:
        where = f' <span class="aside">({_esc(item.where)})</span>' if item.where else ""
        yield f"<li>{_esc(item.what)}{where}</li>"
    yield "</ul>"


def _machine(analysis: Analysis) -> Iterator[str]:
    yield "<h2>Machine</h2>"
    yield from _definitions(words.machine(analysis))


def _main(analysis: Analysis) -> Iterator[str]:
    main = words.verdict_finding(analysis)
    if main is not None:
        yield from _blocks(main.blocks)
    stack = words.culprit_stack(analysis)
    if stack is not None:
        yield f"<h2>Stack of {_esc(words.task(stack.task))}</h2>"
        yield from _pre(_stack(stack))
    if main is not None:
        yield from _tables(main.tables)


def _stack(stack: TaskStack) -> Iterator[str]:
    for number, frame, count in words.runs(stack.frames):
        module = f" [{frame.module}]" if frame.module else ""
        inline = " (inlined)" if frame.inline else ""
        where = words.source(frame.file, frame.line)
        times = f"  {count} times in a row" if count > 1 else ""
        name = words.frame_name(frame)
        yield f"{f'#{number}':>4} {name}{module}{inline}  {where}{times}".rstrip()
    if stack.note:
        yield stack.note


def _findings(analysis: Analysis) -> Iterator[str]:
    if not any(finding.id != analysis.verdict.finding for finding in analysis.findings):
        return
    yield "<h2>Findings</h2>"
    for depth, finding in words.family(analysis.findings):
        yield f'<details class="{"child" if depth else "root"}">'
        yield f"<summary>{_esc(finding.title)} {_aside(finding)}</summary>"
        yield f"<p>{_esc(finding.explanation)}</p>"
        yield from _evidence(finding.evidence)
        if finding.id != analysis.verdict.finding:
            yield from _blocks(finding.blocks)
            yield from _tables(finding.tables)
        yield "</details>"


def _aside(finding: Finding) -> str:
    return f'<span class="aside">({finding.kind}, {finding.confidence})</span>'


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        yield f"<h2>{_esc(block.title)}</h2>"
        yield from _pre(block.lines, block.mark)


def _tables(tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        yield f"<h2>{_esc(table.title)}</h2><table>"
        yield (
            "<tr>" + "".join(f"<th>{_esc(column.name)}</th>" for column in table.columns) + "</tr>"
        )
        for row in table.rows:
            yield "<tr>" + "".join(map(_cell, row, table.columns)) + "</tr>"
        yield "</table>"
        if table.note:
            yield f'<p class="aside">{_esc(table.note)}</p>'


def _texts(texts: Iterable[Text]) -> Iterator[str]:
    for text in texts:
        yield f"<h2>{_esc(text.title)}</h2>"
        yield from _pre(text.lines)


def _cell(value: Cell, column: Column) -> str:
    number = ' class="number"' if cells.is_to_the_right(column) else ""
    return f"<td{number}>{_esc(cells.text(value, column))}</td>"


def _cpus(analysis: Analysis) -> Iterator[str]:
    if not analysis.cpus:
        return
    yield "<h2>What the CPUs were doing</h2>"
    for stack in analysis.cpus:
        cpu = "" if stack.cpu is None else f"CPU {stack.cpu}: "
        yield f"<details><summary>{_esc(cpu + words.task(stack.task))}</summary>"
        yield from _pre(_stack(stack))
        yield "</details>"


def _reports(analysis: Analysis) -> Iterator[str]:
    if not analysis.reports:
        return
    yield "<h2>Kernel reports in the log</h2>"
    for report in analysis.reports:
        times = f", {report.count} times" if report.count > 1 else ""
        yield f"<details><summary>{_esc(report.title)}"
        yield f'<span class="aside">(line {report.line}{times})</span></summary>'
        yield from _pre(report.text)
        yield "</details>"


def _log(analysis: Analysis) -> Iterator[str]:
    if analysis.log_tail:
        yield "<h2>End of the log</h2>"
        yield from _pre(analysis.log_tail)


def _limits(analysis: Analysis) -> Iterator[str]:
    if not analysis.problems:
        return
    yield "<h2>What limits this answer</h2><ul>"
    for problem in analysis.problems:
        yield f"<li><b>{_esc(problem.what)}</b>: {_esc(problem.why)}</li>"
    yield "</ul>"
