"""KDB's prompt and commands over a dump: ``postmortem shell --kdb``, or ``kdb`` in the shell.

The output is that of the kernel's own debugger (kernel/debug/kdb), whose format strings
are kept. What would change the machine is refused: a dump does not run. On a dump "the
current CPU" is the one that panicked, and a CPU "responds" if its registers are known.
"""

from postmortem.shell.kdb.prompt import Kdb

__all__ = ["Kdb"]
