"""What crash(8) and our shell print is taken apart alike, and compared."""

from benchmarks.crash_facts import Difference, compare, facts

CRASH = """
       TASKS: 2
      PID    PPID  CPU       TASK        ST  %MEM      VSZ      RSS  COMM
>       1       0   1  ff241f09412f42c0  RU   1.4     2260     1820  init
       21       2   1  ff241f09413cc2c0  RU   0.0        0        0  [my kthread]
CPU 0 RUNQUEUE: ff241f0947831980
  CURRENT: PID: 1      TASK: ff241f09412f42c0  COMMAND: "init"
  RT PRIO_ARRAY: ff241f0947831bc0
     [no tasks queued]
  CFS RB_ROOT: ff241f0947831a30
     [120] PID: 21     TASK: ff241f09413cc2c0  COMMAND: "my kthread"
CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
ff241f0942ce41c0       80          0        23      1     4k  two words
"""


def test_each_number_and_name_is_a_fact() -> None:
    found = facts(CRASH)
    assert found["tasks", "all"] == "2"
    assert found["ps rss", "ff241f09412f42c0"] == "1820"
    assert found["ps active", "ff241f09412f42c0"] == ">"
    assert found["ps comm", "ff241f09413cc2c0"] == "[my kthread]"
    assert found["kmem -s name", "ff241f0942ce41c0"] == "two words"
    assert found["runq current", "0"] == "1 ff241f09412f42c0"
    assert "[120]21@ff241f09413cc2c0" in found["runq queued", "0"]


def test_widths_and_colons_are_no_difference_but_numbers_and_rows_are() -> None:
    ours = CRASH.replace("RUNQUEUE:", "RUNQUEUE").replace("  PPID", " PPID")
    assert compare(facts(CRASH), facts(ours)) == []
    changed = facts(ours.replace("1820", "1816").replace("ff241f0942ce41c0", "no cache"))
    found = compare(facts(CRASH), changed)
    assert Difference("ps rss", "ff241f09412f42c0", "1820", "1816") in found
    assert Difference("kmem -s total", "ff241f0942ce41c0", "23", "-") in found
