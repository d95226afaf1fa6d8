"""Find all plugins: ours, installed ones, the user's own, those named on the command line."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from postmortem.errors import UsageError
from postmortem.model.findings import Problem
from postmortem.plugin.contract import Plugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "postmortem.plugins"
FIRST_PARTY = "postmortem_plugins"
COMMANDS = (
    *("analyze", "known", "log", "dmesg", "sysrq", "trace", "decode", "shell", "plugins"),
    *("triage", "bucket", "guide", "completion", "man"),
)
"""Names that no plugin can have: ``postmortem NAME`` is something else."""
OURS = "first-party"
"""Origin of the plugins that come with postmortem."""


def discover(
    files: Iterable[str | Path] = (),
) -> tuple[list[Plugin], list[Problem]]:
    """Find all plugins: first-party, entry points, the user's folder, then ``files``.

    One that can't be imported is a problem, except in ``files``: those were
    asked for by name. The first of a name is kept and the others are a problem, but
    a file that was asked for goes before what was merely found.

    :raises UsageError: a file in ``files`` can't be loaded, or its plugin has the name
        of one that comes with postmortem.
    """
    found: dict[str, Plugin] = {}
    problems: list[Problem] = []
    owners = dict.fromkeys(COMMANDS, "a command of postmortem")

    def take(load: Callable[[], ModuleType], origin: str) -> None:
        try:
            with _quiet():
                module = load()
        except (Exception, SystemExit) as exc:
            problems.append(Problem(f"plugin {origin}", f"{type(exc).__name__}: {exc}"))
            return
        for item in _declared(module, origin):
            if item.name in owners:
                why = f"the name {item.name} is taken by {owners[item.name]}"
                problems.append(Problem(f"plugin {origin}", why))
            else:
                found[item.name] = item
                owners[item.name] = origin

    package = importlib.import_module(FIRST_PARTY)
    for info in pkgutil.iter_modules(package.__path__):
        name = f"{FIRST_PARTY}.{info.name}"
        take(lambda name=name: importlib.import_module(name), OURS)  # type: ignore[misc]
    ours = {*owners}
    for entry in _entry_points():
        take(lambda entry=entry: _module_of(entry.load()), f"entry point {entry.name}")  # type: ignore[misc]
    for path in _user_files():
        take(lambda path=path: _load_file(path), str(path))  # type: ignore[misc]
    for file in files:
        for item in _named(Path(file)):
            if item.name in ours:
                raise UsageError(
                    f"--plugin {file}: the name {item.name} is taken by {owners[item.name]}:"
                    " call it something else"
                )
            if item.name in found and found[item.name].origin != item.origin:
                why = f"its {item.name} gives way to that of --plugin {file}"
                problems.append(Problem(f"plugin {found[item.name].origin}", why))
            found[item.name] = item
    return list(found.values()), problems


def _named(file: Path) -> list[Plugin]:
    """The plugins of a file that the user named."""
    try:
        with _quiet():
            module = _load_file(file)
    except (Exception, SystemExit) as exc:
        raise UsageError(f"--plugin {file}: can't be loaded ({type(exc).__name__}: {exc})") from exc
    items = list(_declared(module, str(file)))
    if not items:
        raise UsageError(f"--plugin {file}: declares no plugin (no @plugin function in it)")
    return items


def _quiet() -> contextlib.AbstractContextManager[object]:
    """What a module prints while it is loaded must not get into the output."""
    return contextlib.redirect_stdout(sys.stderr)


def _entry_points() -> Iterable[EntryPoint]:
    """What installed packages declare.

    ``importlib.metadata`` takes longer to load than all our plugins, so it is
    only asked when a package on the path does name our group.
    """
    if not any(map(_may_declare, sys.path)):
        return ()
    import importlib.metadata

    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)


def _may_declare(folder: str) -> bool:
    try:
        with os.scandir(folder or ".") as entries:
            installed = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
    except FileNotFoundError:
        return False
    except OSError:  # an archive: importlib.metadata can look into it
        return True
    return any(map(_declares, installed))


def _declares(distribution: str) -> bool:
    try:
        with open(f"{distribution}/entry_points.txt", "rb") as file:  # noqa: PTH123 - many of them
            return ENTRY_POINT_GROUP.encode() in file.read()
    except OSError:
        return False


def _user_files() -> list[Path]:
    """Files in the user's folder; none where nobody has a home that can be read."""
    try:
        return sorted(user_folder().glob("*.py"))
    except (OSError, RuntimeError):  # no permission; no home directory at all
        return []


def user_folder() -> Path:
    """The user's own plugins: ``$XDG_CONFIG_HOME/postmortem/plugins``."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "postmortem" / "plugins"


def _declared(module: ModuleType, origin: str) -> Iterator[Plugin]:
    for value in vars(module).values():
        item: Any = getattr(value, "__postmortem_plugin__", None)
        if isinstance(item, Plugin):
            yield replace(item, origin=origin)


def _module_of(loaded: Any) -> ModuleType:
    """An entry point may name a module or a function in one."""
    if isinstance(loaded, ModuleType):
        return loaded
    holder = ModuleType("postmortem_entry_point")
    holder.plugin = loaded  # type: ignore[attr-defined]
    return holder


def _load_file(path: Path) -> ModuleType:
    digest = hashlib.sha1(str(path.resolve()).encode(), usedforsecurity=False).hexdigest()[:8]
    name = f"postmortem_plugin_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no Python file at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
