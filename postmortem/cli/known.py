"""``postmortem known``: is this failure one that somebody has already understood?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postmortem.cli.options import FILE, input_options
from postmortem.cli.output import complain, open_output
from postmortem.cli.supervisor import supervise
from postmortem.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from postmortem.known.rules import Rule
    from postmortem.model.result import Analysis
    from postmortem.triage.rows import Bucket

EXIT_NOT_KNOWN = 5
"""It was analysed, and no rule knows it."""


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, type=FILE)
@click.option(
    "--rules",
    metavar="PATH",
    type=FILE,
    multiple=True,
    help="Rules of your own: a folder of .yaml files, or one of them (repeatable).",
)
@click.option(
    "--store",
    metavar="FILE|URL",
    help="Also the bugs of a triage: known is what it has a bucket of.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--check",
    is_flag=True,
    help="Hold each rule against the examples in it instead; no FILE is needed.",
)
@input_options
def known(
    files: tuple[str, ...],
    rules: tuple[str, ...],
    store: str | None,
    as_json: bool,
    check: bool,
    **options: Any,
) -> int:
    """Say whether a failure is a known issue, and in which kernel it is fixed.

    \b
    Exit status: 0 known, 5 not known; 2, 3 and 4 as everywhere.
    """
    if check:
        return _check(rules)
    if not files:
        raise UsageError("say which dump or log is meant, or --check")
    found_rules = own_rules(rules)
    status = supervise(files, None)
    if status is not None:
        return status
    analysis = _analysed(files, options)
    return _answer(analysis, found_rules, _bucket(analysis, store) if store else None, as_json)


def own_rules(paths: Sequence[str]) -> list[Rule]:
    """The rules that were named, those of this machine and user, and the shipped ones."""
    from postmortem.known.rules import load

    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110 - a name may be no valid path at all
            raise UsageError(f"--rules {path}: there is no such folder or file")
    return load([*map(Path, paths), *filter(Path.is_dir, _folders())])


def _folders() -> list[Path]:
    from postmortem.cli.config import config_file

    config = config_file()
    own = [config.with_name("known")] if config is not None else []
    return [*own, Path("/etc/postmortem/known")]


def _analysed(files: Sequence[str], options: dict[str, Any]) -> Analysis:
    import postmortem

    with postmortem.open(files, **options) as case:
        return case.analyze()


def _bucket(analysis: Analysis, store: str) -> Bucket | None:
    """The bucket that the failure would go to: none if its kernel has what was said to fix it."""
    from postmortem.cli.triage_options import open_store
    from postmortem.triage.facts import key_of
    from postmortem.triage.grouping import VERSIONS, usable

    signature = analysis.verdict.signature
    if signature is None or not usable(signature) or analysis.verdict.is_calm:
        return None
    with open_store(store) as found:
        level = VERSIONS[found.grouping_version()]
        key = key_of(analysis) if level == "bug" else signature.frames
        assert key is not None
        return found.bucket_of_key(key, analysis.system.release)


def _of_bucket(bucket: Bucket) -> str:
    """One sentence."""
    crashes = "1 crash" if bucket.crashes == 1 else f"{bucket.crashes} crashes"
    fixed = f"fixed in {', '.join(bucket.fixed_in)}" if bucket.fixed_in else "not said to be fixed"
    return f"Known: bucket {bucket.id}: {bucket.shown}, {crashes}; {fixed}"


def _answer(analysis: Analysis, rules: list[Rule], bucket: Bucket | None, as_json: bool) -> int:
    from postmortem.known.match import known as held_against
    from postmortem.known.match import sentence
    from postmortem.render.clean import clean

    found = held_against(analysis, rules)
    is_known = bucket is not None or any(item.is_known for item in found)
    with open_output() as file:
        if as_json:
            from postmortem.render.json import dump

            listed = [
                {
                    "id": item.rule.id,
                    "status": str(item.status),
                    "cause": item.rule.cause,
                    "advice": item.rule.advice,
                    "link": item.rule.link,
                    "fixed_in": item.fixed_in,
                    "sentence": sentence(item),
                }
                for item in found
            ]
            same = {} if bucket is None else {"bucket": bucket.id, "fixed_in": bucket.fixed_in}
            told = {"title": analysis.verdict.title, "known": is_known, "rules": listed}
            dump({**told, **({"store": same} if same else {})}, file)
        else:
            for item in found:
                file.write(clean(sentence(item)) + "\n")
                if item.is_known and item.rule.advice:
                    file.write(clean(f"  {item.rule.advice}") + "\n")
            if bucket is not None:
                file.write(clean(_of_bucket(bucket)) + "\n")
            if not found and bucket is None:
                file.write(clean(f"Not known: {analysis.verdict.readable}") + "\n")
    return EXIT_OK if is_known else EXIT_NOT_KNOWN


def _check(paths: Sequence[str]) -> int:
    """Each rule against its own examples; the exit status tells whether all are as they say."""
    from postmortem.known.check import failures

    rules = own_rules(paths)
    wrong = [text for rule in rules for text in failures(rule, rules)]
    for text in wrong:
        complain(text)
    with open_output() as file:
        count = sum(len(rule.examples) for rule in rules)
        file.write(f"{len(rules)} rules, {count} examples, {len(wrong)} of them wrong\n")
    return EXIT_NOT_KNOWN if wrong else EXIT_OK
