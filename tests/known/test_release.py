"""Whose kernel it is: release strings as the distributions write them."""

from __future__ import annotations

import pytest

from postmortem.known.release import Version, numbers, parse


@pytest.mark.parametrize(
    ("release", "version", "distribution", "upstream", "own"),
    [
        ("6.1.75", None, "upstream", (6, 1, 75), None),
        ("6.1.75+", None, "upstream", (6, 1, 75), None),
        ("6.7.0-rc3", None, "upstream", (6, 7, 0, -1, 3), None),
        ("6.1.0-18-amd64", "#1 SMP Debian 6.1.76-1", "debian", (6, 1, 76), (6, 1, 76, 1)),
        ("6.1.0-18-amd64", None, "unknown", None, None),
        ("4.18.0-513.5.1.el8_9.x86_64", None, "rhel", None, (4, 18, 0, 513, 5, 1)),
        ("5.14.0-362.8.1.el9_3.x86_64", None, "rhel", None, (5, 14, 0, 362, 8, 1)),
        ("5.15.0-101.103.2.1.el8uek.x86_64", None, "oracle", None, (5, 15, 0, 101, 103, 2, 1)),
        ("5.15.0-91-generic", None, "ubuntu", None, (5, 15, 0, 91)),
        ("5.14.21-150500.55.39-default", None, "sles", None, (5, 14, 21, 150500, 55, 39)),
        ("5.10.0-60.18.0.50.oe2203.x86_64", None, "openeuler", None, (5, 10, 0, 60, 18, 0, 50)),
        ("6.5.6-300.fc39.x86_64", None, "fedora", (6, 5, 6), None),
        ("5.10.199-190.747.amzn2.x86_64", None, "amazon", (5, 10, 199), None),
        ("6.6.1-arch1-1", None, "arch", (6, 6, 1), None),
        ("", None, "unknown", None, None),
        ("no kernel", None, "unknown", None, None),
        ("9" * 5000 + ".1.1", None, "upstream", (999999999, 1, 1), None),
    ],
)  # fmt: skip
def test_a_release_is_taken_apart(
    release: str,
    version: str | None,
    distribution: str,
    upstream: Version | None,
    own: Version | None,
) -> None:
    found = parse(release, version)
    if len(release) < 200:
        assert (found.distribution, found.upstream, found.own) == (distribution, upstream, own)
    assert len(found.text) <= 200


def test_a_release_candidate_is_older_than_its_release_and_newer_than_the_one_before() -> None:
    candidate = parse("6.7.0-rc3").upstream
    assert candidate is not None
    assert numbers("6.6.99") < candidate
