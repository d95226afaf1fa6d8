"""Run one plugin, which may be anybody's code: nothing in it ends the report."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from postmortem.budget import GivenUp
from postmortem.errors import missing_library, not_installed
from postmortem.plugin.contract import RESULTS, Context, DumpContext, Plugin, Result
from postmortem.steps import step


def run_plugin(
    item: Plugin, ctx: Context, options: Mapping[str, Any] | None = None
) -> list[Result]:
    """Run one plugin; whatever goes wrong in it becomes one line under ``problems``.

    What it yielded before it failed is kept. What it prints goes to standard error:
    standard output is the report, which may be a JSON document.

    :raises KeyboardInterrupt: with the plugin's name, so that an endless one is known.
    """
    results: list[Result] = []
    given = item.values({}) if options is None else options
    try:
        limited = ctx.case.dump is not None
        with contextlib.redirect_stdout(sys.stderr), step(f"plugin {item.name}", limited=limited):
            for result in item.run(_context(item, ctx), **given) or ():
                if isinstance(result, RESULTS):
                    results.append(result)
                else:
                    _complain(item, ctx, f"it yielded {_a(result)}, which nothing can show")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"plugin {item.name}") from None
    except GivenUp as exc:
        _complain(item, ctx, str(exc))
    except SystemExit as exc:
        _complain(item, ctx, f"it called sys.exit({exc.code!r})")
    except ImportError as exc:
        library = missing_library(exc)
        _complain(item, ctx, not_installed(library) if library else f"{type(exc).__name__}: {exc}")
    except Exception as exc:
        reason = str(exc).strip().partition("\n")[0][:200]
        _complain(item, ctx, f"{type(exc).__name__}: {reason}")
    return results


def _context(item: Plugin, ctx: Context) -> Context:
    """The same context, typed for a plugin that needs a dump."""
    if not item.needs_dump or isinstance(ctx, DumpContext):
        return ctx
    typed = DumpContext(ctx.case, named=ctx.named)
    typed.problems, typed.memo = ctx.problems, ctx.memo
    return typed


def _complain(item: Plugin, ctx: Context, why: str) -> None:
    ctx.problem(f"plugin {item.name}", why)


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
