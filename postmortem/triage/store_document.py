"""A document as it is stored: JSON, compressed. Workers write it without importing a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def pack(document: Mapping[str, Any]) -> bytes:
    """A document as it is stored."""
    import zstandard

    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return zstandard.ZstdCompressor(level=3).compress(text.encode())


def unpacked(data: bytes) -> dict[str, Any]:
    """The document again."""
    import zstandard

    found: dict[str, Any] = json.loads(zstandard.ZstdDecompressor().decompress(data))
    return found
