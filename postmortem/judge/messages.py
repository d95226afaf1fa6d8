"""What a message of a driver or file system means: sentence, severity and next steps.

The rows are in :mod:`postmortem.rules.messages`; here they meet what one log says.
"""

from __future__ import annotations

from postmortem.model.findings import RECOVERED, Severity
from postmortem.model.report import Report
from postmortem.rules.messages import Message, fields, row_of


def explain_message(report: Report) -> str | None:
    """One to three sentences; ``None`` if the report is none of a message or its row has none."""
    row = row_of(report.form, report.text)
    if row is None or not row.sentence:
        return None
    values = fields(report.detail, report.devices)
    values["function"] = f"{report.function}()" if report.function else "a function not known"
    task = report.task
    values["task"] = f"{task.comm} ({task.pid})" if task is not None else "that ran it"
    text = " ".join(row.sentence.format_map(values).split())
    text = text.replace(" ().", ".").replace(": .", ".").replace("  ", " ")
    text = text.replace("....", "...")  # a message that was cut, at the end of a sentence
    return text + how_often(report, "Said") + _mended(report)


def message_steps(report: Report) -> tuple[str, ...]:
    """What to look at next."""
    row = row_of(report.form, report.text)
    return row.steps if row is not None else ()


def message_severity(report: Report) -> Severity | None:
    """How bad it is; what was mended later is half as bad."""
    row = row_of(report.form, report.text)
    if row is None:
        return None
    if "recovered" in report.detail and row.severity is not Severity.INFO:
        return Severity.INFO if row.severity is Severity.WARNING else Severity.WARNING
    return row.severity


def how_often(report: Report, verb: str) -> str:
    """A sentence on a report that came more than once: so many times in so many seconds."""
    if report.count < 2:
        return ""
    first, last = report.time, report.last_time
    if first is None or last is None:
        first, last = report.clock, report.last_clock
    if first is not None and last is not None:
        seconds = last - first
        if seconds >= 1:
            return f" {verb} {report.count} times in {seconds:.0f} s."
    return f" {verb} {report.count} times."


def _mended(report: Report) -> str:
    line = report.detail.get("recovered_line")
    return f" {RECOVERED} (log line {line}: {report.detail['recovered']})." if line else ""


def is_message(report: Report) -> bool:
    """Whether a report is a message of a driver or file system, not one of the kernel's core."""
    row: Message | None = row_of(report.form, report.text)
    return row is not None
