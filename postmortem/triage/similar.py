"""Which buckets are perhaps the same as a case: a ranked list for people, who decide.

TF-IDF over the words of :mod:`postmortem.triage.terms`: a word counts the more, the fewer buckets
have it, and the less, the deeper it lies on the stack. Never used to join anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from postmortem.triage import schema as t
from postmortem.triage.rows import Bucket
from postmortem.triage.store import Store

_WORDS = 48
"""The rarest words of a case that are looked up."""
_POSTINGS = 2000
"""Buckets that one word may have to be looked up: what more have tells nothing."""
WINDOW_SECONDS = 90 * 86400
_OLD = 0.8
"""What is left of a likeness to a bucket that was last seen before the window."""


@dataclass(frozen=True)
class Likeness:
    """A bucket and how alike it is, from 0 to 1."""

    bucket: Bucket
    score: float
    shared: tuple[str, ...]
    """Functions that both have, those that say most first."""


def similar(
    store: Store,
    terms: Sequence[tuple[str, float]],
    *,
    but: str | None = None,
    time: int | None = None,
    limit: int = 10,
) -> list[Likeness]:
    """The most alike buckets, the best first.

    :param terms: of the case, see :func:`postmortem.triage.terms.terms_of`.
    :param but: the bucket that it is in.
    :param time: when it was seen, in seconds since the epoch.
    """
    total = store.totals().buckets
    with store.reading() as connection:
        idf = _rarity(connection, [word for word, _ in terms], total)
        mine = {word: weight * idf[word] for word, weight in terms if word in idf}
        rarest = sorted(mine, key=lambda word: (-mine[word], word))[:_WORDS]
        scores, shared = _products(connection, mine, rarest, idf)
        scores.pop(but or "", None)
        norms = _norms(connection, _best(scores, 5 * limit), total)
    own = math.sqrt(sum(value * value for value in mine.values())) or 1.0
    ranked = {name: scores[name] / (own * norm) for name, norm in norms.items() if norm}
    found = []
    for name in _best(ranked, 3 * limit):
        bucket = store.bucket(name)
        old = time is not None and bucket.last is not None and time - bucket.last > WINDOW_SECONDS
        words = sorted(shared[name], key=lambda word: -mine[word])
        functions = tuple(dict.fromkeys(w[2:] for w in words if w[:2] in ("f:", "o:")))
        score = min(ranked[name], 1.0) * (_OLD if old else 1.0)
        found.append(Likeness(bucket, round(score, 4), functions[:8]))
    found.sort(key=lambda item: (-item.score, item.bucket.id))
    return found[:limit]


def _best(scores: dict[str, float], count: int) -> list[str]:
    return sorted(scores, key=lambda name: (-scores[name], name))[:count]


def _rarity(connection: sa.Connection, words: Sequence[str], total: int) -> dict[str, float]:
    """How much each word tells; words that no bucket has, or too many, are left out."""
    count = sa.func.count().label("buckets")
    query = sa.select(t.term.c.term, count).where(t.term.c.term.in_(words)).group_by(t.term.c.term)
    found = {}
    for word, buckets in connection.execute(query):
        if buckets <= _POSTINGS:
            found[word] = math.log(1 + (total + 1) / buckets)
    return found


def _products(
    connection: sa.Connection,
    mine: dict[str, float],
    words: Sequence[str],
    idf: dict[str, float],
) -> tuple[dict[str, float], dict[str, list[str]]]:
    scores: dict[str, float] = {}
    shared: dict[str, list[str]] = {}
    query = sa.select(t.term).where(t.term.c.term.in_(words))
    for word, bucket, weight in connection.execute(query):
        scores[bucket] = scores.get(bucket, 0.0) + mine[word] * weight * idf[word]
        shared.setdefault(bucket, []).append(word)
    return scores, shared


def _norms(connection: sa.Connection, names: Sequence[str], total: int) -> dict[str, float]:
    """How long the vector of each bucket is."""
    rows = connection.execute(sa.select(t.term).where(t.term.c.bucket_id.in_(names))).all()
    idf = _rarity(connection, sorted({row.term for row in rows}), total)
    squares: dict[str, float] = {}
    for row in rows:
        value = row.weight * idf.get(row.term, 0.0)
        squares[row.bucket_id] = squares.get(row.bucket_id, 0.0) + value * value
    return {name: math.sqrt(square) for name, square in squares.items()}
