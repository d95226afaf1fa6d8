"""C expressions. What they give follows from C and from what every Linux machine has."""

import drgn
import pytest

from postmortem.errors import UsageError
from postmortem.shell.expression import evaluate
from tests.conftest import machine_named


@pytest.fixture
def prog() -> drgn.Program:
    program: drgn.Program = machine_named("6.12-null-chain").prog
    return program


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-7 / 2", -3),  # C rounds towards zero
        ("1 << 12 | 5", 4101),
        ("0x10UL", 16),
        ("010", 8),
        ("'a'", 97),
        ("!0 && 2", 1),
        ("0 ? 1 : 2", 2),
        ("(unsigned char)300", 44),
        ("(u64)-1", (1 << 64) - 1),
        ("sizeof(struct list_head)", 16),
        ("sizeof(int *)", 8),
        ("init_task.pid", 0),
        ("(&init_task)->pid", 0),
        ("((struct task_struct *)&init_task)->prio == init_task.prio", 1),
        ("&init_task.comm[3] - &init_task.comm[0]", 3),
    ],
)
def test_the_value_is_that_of_c(prog: drgn.Program, text: str, value: int) -> None:
    assert evaluate(prog, text).value_() == value


def test_a_string_of_the_kernel(prog: drgn.Program) -> None:
    assert evaluate(prog, "init_task.comm").string_() == b"swapper/0"


def test_a_pointer_leads_on(prog: drgn.Program) -> None:
    first = evaluate(prog, "init_task.tasks.next")
    assert evaluate(prog, "init_task.tasks.next->prev").value_() == (
        evaluate(prog, "&init_task.tasks").value_()
    )
    assert first.value_() != 0


@pytest.mark.parametrize(
    "text",
    [
        "1 +",
        "x; int y",
        "} int y = {1",
        "nobody_has_this",
        "init_task.nobody_has_this",
        "1 / 0",
        "++jiffies",
        "f(1)",
        '"text"',
        "1.5",
        "0x1ffffffffffffffff",
        "(struct nobody_has_this *)0",
        "(" * 3000 + "1" + ")" * 3000,
        "1" + "+1" * 3000,
    ],
)
def test_what_is_no_expression_is_said(prog: drgn.Program, text: str) -> None:
    with pytest.raises(UsageError):
        evaluate(prog, text)


def test_memory_that_is_not_there_is_a_fault(prog: drgn.Program) -> None:
    with pytest.raises(drgn.FaultError):
        evaluate(prog, "*(int *)8").value_()
