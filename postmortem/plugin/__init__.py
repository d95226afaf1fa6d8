"""The plugin contract: what a plugin is, what it is given, what it may yield.

A plugin is a generator function with a name. It declares what it needs, reads
facts from its :class:`Context` and yields findings, tables and blocks::

    from postmortem.plugin import Context, plugin

    @plugin("uptime", needs=("dump",))
    def uptime(ctx: Context):
        '''Says how long the machine was up.'''
        ...
        yield Finding(...)

The same function runs in ``postmortem analyze``, as ``postmortem NAME FILE`` and
from Python. docs/plugins.md is the guide.
"""

from postmortem.plugin.contract import Context, DumpContext, Plugin, Result, plugin
from postmortem.plugin.discovery import discover
from postmortem.plugin.options import Option, option
from postmortem.plugin.running import run_plugin
from postmortem.rules.causes import Rule

__all__ = (
    "Context",
    "DumpContext",
    "Option",
    "Plugin",
    "Result",
    "Rule",
    "discover",
    "option",
    "plugin",
    "run_plugin",
)
