"""The terms in which amenities and productivity are linear: products of named columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from matching import InvalidInput
from matching.errors import did_you_mean


@dataclass(frozen=True)
class Term:
    """A product of columns of workers and of jobs: ``risk*educ``, ``exper*exper``."""

    workers: tuple[str, ...]
    jobs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Jobs' columns first: ``risk*educ``."""
        return "*".join((*self.jobs, *self.workers))

    @property
    def is_interaction(self) -> bool:
        """Whether the term bears on who works where: it has columns of both sides."""
        return bool(self.workers and self.jobs)


@dataclass(frozen=True)
class Basis:
    """Terms of amenities ``α(x, y)`` and productivity ``γ(x, y)``; :func:`make_basis` checks."""

    amenities: tuple[Term, ...]
    productivity: tuple[Term, ...]

    @property
    def interactions(self) -> tuple[Term, ...]:
        """The terms that bear on who works where, each once."""
        terms = dict.fromkeys((*self.productivity, *self.amenities))
        return tuple(term for term in terms if term.is_interaction)


def make_basis(
    amenities: Sequence[str],
    productivity: Sequence[str],
    *,
    workers: Sequence[str],
    jobs: Sequence[str],
) -> Basis:
    """Read terms such as ``"risk*educ"``; ``workers`` and ``jobs`` name the columns there are.

    Raises :class:`~matching.errors.InvalidInput` for unknown columns, repeated terms, and terms
    that neither matches nor wages tell: what is a worker's alone cancels out of amenities, what
    is a job's alone out of productivity.

    >>> basis = make_basis(["risk"], ["educ", "educ*risk"], workers=["educ"], jobs=["risk"])
    >>> [term.name for term in basis.interactions]
    ['risk*educ']
    """
    defects: list[str] = []
    sides = []
    for side, texts in (("amenities", amenities), ("productivity", productivity)):
        read = (_term(side, text, workers, jobs, defects) for text in texts)
        terms = tuple(term for term in read if term)
        for term in terms:
            if not term.jobs and side == "amenities":
                defects.append(_cancels(side, term, "worker", "in every job alike", "productivity"))
            if not term.workers and side == "productivity":
                defects.append(_cancels(side, term, "job", "with every worker alike", "amenities"))
        defects += [
            f"{side}: {term.name} stands there twice; leave one out"
            for term in dict.fromkeys(terms)
            if terms.count(term) > 1
        ]
        sides.append(terms)
    basis = Basis(*sides)
    if not defects and not basis.interactions:
        defects.append(
            "amenities, productivity: no term joins a worker's and a job's column, so nothing is "
            "sorted and the scales are not identified; add one, as in 'risk*educ'"
        )
    if defects:
        raise InvalidInput(defects)
    return basis


def product(columns: Mapping[str, Any], names: Sequence[str], rows: int) -> np.ndarray:
    """The product of the named columns, ``(rows,)``; ones where none is named."""
    value = np.ones(rows)
    for name in names:
        value = value * np.asarray(columns[name], dtype=np.float64)
    return value


def _term(
    side: str, text: str, workers: Sequence[str], jobs: Sequence[str], defects: list[str]
) -> Term | None:
    names = [name.strip() for name in text.split("*")]
    unknown = [name for name in names if name not in (*workers, *jobs)]
    for name in unknown:
        hint = did_you_mean(name, [*workers, *jobs])
        defects.append(f"{side}: {text!r} names {name!r}, a column that is not there{hint}")
    if unknown:
        return None
    return Term(
        workers=tuple(sorted(name for name in names if name in workers)),
        jobs=tuple(sorted(name for name in names if name in jobs)),
    )


def _cancels(side: str, term: Term, whose: str, how: str, other: str) -> str:
    return (
        f"{side}: {term.name} is the {whose}'s alone and counts {how}, so neither matches nor "
        f"wages tell it; move it to {other}, or leave it out"
    )
