"""The faulting instruction, its operands and their types, on real faults of the corpus."""

from __future__ import annotations

import random

import pytest

from postmortem.arch import arch_of
from postmortem.kernel.code.crash import crash
from postmortem.kernel.code.disassembly import decode, function_code
from postmortem.kernel.code.fault import text_address
from postmortem.kernel.code.typed_registers import typed_registers
from postmortem.kernel.identify import member_at, members_at, slab_object
from tests.conftest import machine_named


def fault(name: str):  # type: ignore[no-untyped-def]
    found = crash(machine_named(name).prog)
    assert found is not None and found.fault is not None
    return found.fault


def test_null_pointer_is_the_parameter_and_its_member() -> None:
    """pm_peer_port(const struct pm_peer *peer) reads peer->port (corpus/faults/memory.c)."""
    found = fault("6.12-null-chain")
    assert found.base_value == 0
    assert found.pointer.type_name == "const struct pm_peer"
    assert found.member == "peer->port"
    assert found.address == found.displacement


def test_poison_in_a_member_of_a_freed_object() -> None:
    """pm_session_peer_address(session) reads session->peer->address of a freed session."""
    found = fault("6.1-use-after-free")
    assert found.base_poison is not None and found.base_poison.freed
    assert found.pointer.expression == "session->peer"
    assert any(item.cache == "pm_session" for item in found.objects.values())


def test_freed_session_is_known_to_be_free() -> None:
    found = fault("6.1-use-after-free")
    sessions = [item for item in found.objects.values() if item.cache == "pm_session"]
    assert sessions and all(item.allocated is False for item in sessions)


def test_function_and_offset_find_their_address_back() -> None:
    prog = machine_named("6.12-null-chain").prog
    symbol = prog.symbol("schedule")
    assert text_address(prog, "schedule", 8, symbol.size, None) == symbol.address + 8
    assert text_address(prog, "no_such_function_here", 0, None, None) is None


def test_parameters_are_typed_at_a_functions_start() -> None:
    """ssize_t vfs_write(struct file *file, const char __user *buf, ...) in fs/read_write.c."""
    prog = machine_named("6.12-null-chain").prog
    code = function_code(prog, prog.symbol("vfs_write").address)
    assert code is not None
    state = typed_registers(prog, code)
    assert state["rdi"].type_name == "struct file"
    assert "rsi" not in state


@pytest.mark.parametrize("name", ["5.10-sysrq-crash", "6.12-null-chain", "7.2-healthy-idle"])
def test_any_place_in_any_function_can_be_asked(name: str) -> None:
    prog = machine_named(name).prog
    choose = random.Random(1)
    functions = ["schedule", "vfs_read", "do_exit", "tcp_sendmsg", "kmem_cache_alloc", "panic"]
    for function in functions:
        try:
            symbol = prog.symbol(function)
        except LookupError:
            continue
        whole = prog.read(symbol.address, min(symbol.size, 4096))
        places = [item.address for item in decode(whole, symbol.address, arch_of(prog))]
        for pc in choose.sample(places, min(20, len(places))):
            code = function_code(prog, pc)
            assert code is not None and code.instruction.address == pc
            for pointer in typed_registers(prog, code).values():
                assert pointer.expression


def test_struct_of_a_module_by_offset_and_size() -> None:
    """struct pm_session has exactly one member at the offset of timeout_ms."""
    prog = machine_named("6.12-null-chain").prog
    session = prog.type("struct pm_session")
    offset = next(m.offset for m in session.members if m.name == "timeout_ms")
    assert "struct pm_session.timeout_ms" in members_at(prog, "pm_fault", offset, 4)
    assert member_at(session, offset) == "timeout_ms"
    assert member_at(session, 1 << 20) is None


def test_user_addresses_are_no_slab_objects() -> None:
    assert slab_object(machine_named("6.12-null-chain").prog, 0x401000) is None
