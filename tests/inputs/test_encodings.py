"""Text as Windows tools and mail write it is the text that it was."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from postmortem.inputs.encodings import decoded, unicode_of
from postmortem.inputs.recognise import looks_like_text

LOG = "[    1.000000] otter: hello\n[    2.000000] otter: Käse\n"
MAIL = """\
From: heron@example.org
Content-Type: multipart/mixed; boundary=rim

--rim
Content-Type: text/plain

The log is below.

--rim
Content-Type: text/plain; name=log.txt
Content-Transfer-Encoding: base64

{body}
--rim--
"""


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("size", [5000, 33])
def test_wide_characters(name: str, size: int) -> None:
    data = LOG.encode(name)
    assert b"".join(decoded(pieces(data, size))).decode() == LOG
    assert looks_like_text(data) or name == "utf-32"


@pytest.mark.parametrize("data", [LOG.encode(), b"", bytes(600), b"\0" * 40 + LOG.encode()])
def test_one_byte_a_letter_stays_as_it_is(data: bytes) -> None:
    assert unicode_of(data) is None
    assert b"".join(decoded(pieces(data, 100))) == data


def test_a_part_of_a_mail_is_decoded() -> None:
    mail = MAIL.format(body=base64.encodebytes(LOG.encode() * 9).decode())
    text = b"".join(decoded(pieces(mail.encode(), 400))).decode()
    assert "The log is below.\n" in text
    assert LOG * 9 in text
    assert text.endswith("--rim--\n")


def test_an_attached_picture_is_left_out() -> None:
    mail = MAIL.format(body=base64.encodebytes(b"\x89PNG\r\n\x1a\n\0\0\0" + bytes(900)).decode())
    text = b"".join(decoded(iter([mail.encode()])))
    assert b"\0" not in text
    assert text.endswith(b"--rim--\n")
