"""The whole way: messages to reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from postmortem.log.link import link
from postmortem.log.parse import parse_section
from postmortem.log.report import Record, Report
from postmortem.log.split import split


def reports_from_records(records: Iterable[Record], arch: str | None = None) -> list[Report]:
    """All reports in the messages of one kernel, causes linked to consequences.

    :param arch: architecture where it is known (``x86_64``, ``aarch64`` ...);
        else it is told from the registers.
    """
    sections = sorted(split(records), key=lambda section: section.records[0].line)
    return link(parse_section(section, arch) for section in sections)
