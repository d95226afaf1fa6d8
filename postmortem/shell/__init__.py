"""A crash-style shell over one open case.

:mod:`~postmortem.shell.line` takes a typed line apart, :mod:`~postmortem.shell.session`
runs it, :mod:`~postmortem.shell.prompt` is the terminal. Our commands are in
:mod:`~postmortem.shell.commands` and its neighbours; every plugin is one too. What
crash(8) has and is not here comes from drgn, through :mod:`~postmortem.shell.crash`.
"""
