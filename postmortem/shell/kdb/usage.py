"""What KDB has: commands, what a dump refuses, variables."""

from __future__ import annotations

REFUSED = {
    "mm": "memory", "rm": "registers", "go": "the machine", "kill": "the machine",
    "reboot": "the machine", "kgdb": "the machine", "bp": "the machine", "ss": "the machine",
}  # fmt: skip
ENV = {"PROMPT": "[%d]kdb> ", "MOREPROMPT": "more> ", "RADIX": "16", "MDCOUNT": "8",
        "BYTESPERWORD": "8", "DTABCOUNT": "30", "NOSECT": "1"}  # fmt: skip

USAGE = (
    ("md", "<vaddr>", "Display Memory Contents, also mdWcN, e.g. md8c1"),
    ("mdr", "<vaddr> <bytes>", "Display Raw Memory"),
    ("mdp", "<paddr> <bytes>", "Display Physical Memory"),
    ("mds", "<vaddr>", "Display Memory Symbolically"),
    ("rd", "", "Display Registers"),
    ("ef", "<vaddr>", "Display exception frame"),
    ("bt", "[<vaddr>]", "Stack traceback"),
    ("btp", "<pid>", "Display stack for process <pid>"),
    ("bta", "[<state_chars>|A]", "Backtrace all processes whose state matches"),
    ("btc", "", "Backtrace current process on each cpu"),
    ("btt", "<vaddr>", "Backtrace process given its struct task address"),
    ("env", "", "Show environment variables"),
    ("set", "", "Set environment variables"),
    ("help", "", "Display Help Message"),
    ("?", "", "Display Help Message"),
    ("cpu", "<cpunum>", "Switch to new cpu"),
    ("ps", "[<state_chars>|A]", "Display active task list"),
    ("pid", "<pidnum>", "Switch to another task"),
    ("lsmod", "", "List loaded kernel modules"),
    ("sr", "<key>", "Magic SysRq key"),
    ("dmesg", "[lines]", "Display syslog buffer"),
    ("summary", "", "Summarize the system"),
    ("per_cpu", "<sym> [<bytes>] [<cpu>]", "Display per_cpu variables"),
    ("grephelp", "", "Display help on | grep"),
    ("ftdump", "[skip_#entries] [cpu]", "Dump ftrace log; -skip dumps last #entries"),
)
"""The kernel's own table (maintab of kdb_main.c), without what a dump can't do."""
