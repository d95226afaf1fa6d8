"""Rust names. The first ones are made by hand after the rules of the v0 mangling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.rules.rust import demangle


@pytest.mark.parametrize(
    ("mangled", "readable"),
    [
        ("_RNvC4acme4poke", "acme::poke"),
        ("_RNvCs1234_4acme4poke", "acme::poke"),
        ("_RNvNtCs1234_4acme4core4poke", "acme::core::poke"),
        ("_RNvMNtCs1_4acme4coreNtB2_4Ring4push", "<acme::core::Ring>::push"),
        ("_RNvMs3_NtCs1_4acme4coreNtB5_4Ring4push", "<acme::core::Ring>::push"),
        ("_RNvXCs1_4acmeNtB2_4RingNtB2_5Drain5drain", "<acme::Ring as acme::Drain>::drain"),
        ("_RINvC4acme4pokemE", "acme::poke"),
        ("_RINvC4acme4pokeRmE", "acme::poke"),
        ("_RNvMC4acmeRm4poke", "<&u32>::poke"),
        ("_RNvMC4acmeQm4poke", "<&mut u32>::poke"),
        ("_RNvMC4acmePm4poke", "<*const u32>::poke"),
        ("_RNvMC4acmeOm4poke", "<*mut u32>::poke"),
        ("_RNvMC4acmeSm4poke", "<[u32]>::poke"),
        ("_RNvMC4acmeAmj4_4poke", "<[u32; _]>::poke"),
        ("_RNvMC4acmeTmhE4poke", "<(u32, u8)>::poke"),
        ("_RNCNvC4acme4poke0B3_", "acme::poke::{closure}"),
        ("_RNvC4acme9", "_RNvC4acme9"),
        ("acme_poke", "acme_poke"),
    ],
)
def test_demangle(mangled: str, readable: str) -> None:
    assert demangle(mangled) == readable


def test_builds_do_not_differ() -> None:
    assert demangle("_RNvCsAbC9_4acme4poke") == demangle("_RNvCsXyZ0_4acme4poke")


@given(st.text(alphabet="RNvCMXYIBsu_0123456789aceE", max_size=200))
def test_any_name_gives_a_name(text: str) -> None:
    assert demangle("_R" + text)
