"""Options that several commands of ``triage`` and ``bucket`` have, and how they open the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postmortem.cli.options import FILE
from postmortem.errors import UsageError

if TYPE_CHECKING:
    from postmortem.triage.store import Store

STORE_VARIABLE = "POSTMORTEM_STORE"

store_option = click.option(
    "--store",
    metavar="FILE|URL",
    envvar=STORE_VARIABLE,
    help="Where the answers are kept: an SQLite file, or postgresql://...",
)
jsonl_option = click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON document a line.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
output_option = click.option("-o", "--output", metavar="FILE", type=FILE, help="Write to FILE.")
limit_option = click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=50, help="How many are listed (50)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def open_store(store: str | None, *, create: bool = False) -> Store:
    """The store that was named, or the one of this user.

    :param create: make it where there is none.
    :raises PostmortemError: there is none, or it can't be opened.
    """
    try:
        from postmortem.triage.engine import default_store
        from postmortem.triage.store import Store
    except ImportError as error:
        raise UsageError(f"triage needs SQLAlchemy: pip install sqlalchemy ({error})") from None
    return Store.open(store or default_store(), create=create)
