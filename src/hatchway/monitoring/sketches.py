"""What is known of the values of one field over some time, in bounded memory. Pure: no clock.

Sketches of two times, or of two replicas, merge into the sketch of both. Counts, lowest, highest, mean and spread are
exact; the rest has a stated error:

| known | by | error | at most |
|---|---|---|---|
| distribution of numbers, lengths of texts | KLL, k = 200 | ranks within 1.33 % (99 %); exact up to 200 values | 5 kB |
| how often each text occurs | frequent items, 64 slots | count within 5.5 % of all texts, exact up to 48 texts | 4 kB |
| how often each number occurs | counted | exact, and given up for good beyond 32 different numbers | 2 kB |
| how many different values | HyperLogLog, 1,024 slots | 3.3 % (one standard deviation) | 1.1 kB |

So a field takes about 10 kB in memory when full, and 6 to 8 kB as bytes; one of few values a fraction of that. 50 full
fields with their baseline stay under 1 MB. k = 200 because the error that it leaves (two sketches: 1.9 % of the mass)
is well under the smallest change that is called drift by default (10 % of the mass); k = 400 would halve it for twice
the memory.

Which way values are taken:
- `null`, an absent field and NaN are missing: NaN is how tables spell it. Infinities are a type of their own,
  as they have no mean.
- An integer and a float of the same value are the same number: clients write 3 and 3.0 for the same thing. Booleans
  are no numbers. A field may change its type at any time; `types` tells, and each type has its own sketch.
- A text counts as a value if it has at most 64 characters; of longer ones only length and difference are known.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import datasketches
import numpy as np
from numpy.typing import NDArray

KLL_K = 200
FREQUENT_LG_SLOTS = 6
DISTINCT_LG_SLOTS = 10
MAX_FEW_NUMBERS = 32  # more different numbers than this are a quantity, not a choice
MAX_TEXT_CHARS = 64
MIN_JUDGED_TEXTS = 20  # fewer texts than this cannot be told from a choice among a few
MAX_LISTED_TEXTS = 48  # different ones that FREQUENT_LG_SLOTS have room for without an error
KEPT_OF_MANY = 0.05  # of ids and prose, what is kept in the long run are texts that make up this share of all

FORMAT_VERSION = 1
_TYPES = ("number", "string", "boolean", "array", "object", "infinity")
_RANKS = np.linspace(0, 1, 257)  # finer than the ranks are exact, and every value where they are

_START = struct.Struct("<BI")  # version, CRC-32 of what follows: DataSketches is not asked to read damaged bytes
_HEAD = struct.Struct("<9Q")
_MOMENTS = struct.Struct("<Q4d")
_UNTOLD = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_PAIR = struct.Struct("<dQ")

Scalar = float | int | str | bool | None
Column = Sequence[object] | NDArray[np.float64]
Points = tuple[NDArray[np.float64], NDArray[np.float64]]
Kind = Literal["numeric", "categorical", "text", "boolean", "other", "empty"]


class BadSketch(ValueError):
    """Bytes that are no sketch, or one of another version."""


@dataclass
class Numbers:
    """Finite numbers: exact moments, their distribution, and each one's count while they are few."""

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean: merges without cancellation (Chan et al. 1979)
    few: dict[float, int] | None = field(default_factory=dict)  # None: there are more than a few
    quantiles: datasketches.kll_doubles_sketch = field(
        default_factory=lambda: datasketches.kll_doubles_sketch(KLL_K), compare=False
    )
    _points: Points | None = field(default=None, init=False, repr=False, compare=False)  # until values come

    @property
    def total(self) -> float:
        return self.mean * self.count

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None for fewer than two values, or beyond what a double holds."""
        if self.count < 2 or not math.isfinite(self.squares):
            return None
        return math.sqrt(self.squares / (self.count - 1))

    @property
    def rank_error(self) -> float:
        """How far ranks may be off, as a share of all values, in 99 of 100 sketches."""
        return float(self.quantiles.normalized_rank_error(False)) if self.quantiles.is_estimation_mode() else 0.0

    def update(self, values: NDArray[np.float64]) -> None:
        """With these values too, all finite."""
        if not values.size:
            return
        self.quantiles.update(values)
        self._points = None
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.sum()) / values.size
            apart = values - mean
            squares = float(apart @ apart)
        self._combine(values.size, float(values.min()), float(values.max()), mean, squares)
        if self.few is not None:
            self._add_few(Counter(values.tolist()).items())

    def merge(self, other: Numbers) -> None:
        if not other.count:
            return
        self.quantiles.merge(other.quantiles)
        self._points = None
        self._combine(other.count, other.low, other.high, other.mean, other.squares)
        if self.few is None or other.few is None:
            self.few = None
        else:
            self._add_few(other.few.items())

    def points(self) -> Points:
        """Values in rising order, at most 257 of them, and the share of all values up to and including each."""
        if self._points is None:
            kept = np.unique(self.quantiles.get_quantiles(_RANKS, True))
            self._points = kept, np.array(self.quantiles.get_cdf(kept, True)[:-1])
        return self._points

    def at(self, ranks: Sequence[float]) -> list[float]:
        """The values below which these shares of all values lie; there must be values. 0 and 1 are exact."""
        found = self.quantiles.get_quantiles(list(ranks))
        return [self.low if r <= 0 else self.high if r >= 1 else v for r, v in zip(ranks, found, strict=True)]

    def histogram(self, edges: Sequence[float]) -> list[int]:
        """How many values lie in each bin. Bins hold their left edge; the last one its right edge too.

        What lies outside the edges is counted in the first and last bin: two histograms with the same edges compare.
        """
        inner = list(edges[1:-1])
        shares = self.quantiles.get_pmf(inner) if inner and self.count else [1.0]
        return [round(share * self.count) for share in shares]

    def _combine(self, count: int, low: float, high: float, mean: float, squares: float) -> None:
        """Chan, Golub and LeVeque's pairwise rule."""
        total = self.count + count
        apart = mean - self.mean
        self.squares += squares + apart * apart * (self.count / total) * count
        self.mean += apart * (count / total)
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count = total

    def _add_few(self, counts: Iterable[tuple[float, int]]) -> None:
        few = self.few or {}
        for value, count in counts:
            few[value] = few.get(value, 0) + count
            if len(few) > MAX_FEW_NUMBERS:
                self.few = None
                return
        self.few = few

    def to_bytes(self) -> bytes:
        few = b"" if self.few is None else b"".join(_PAIR.pack(*item) for item in sorted(self.few.items()))
        known = b"\x00" if self.few is None else b"\x01"
        moments = _MOMENTS.pack(self.count, self.low, self.high, self.mean, self.squares)
        return _join(moments, known + few, self.quantiles.serialize())

    @classmethod
    def from_bytes(cls, data: bytes) -> Numbers:
        moments, few, quantiles = _split(data, 3)
        count, low, high, mean, squares = _MOMENTS.unpack(moments)
        known = dict(_PAIR.iter_unpack(few[1:])) if few[:1] == b"\x01" else None
        return cls(
            count, low, high, mean, squares, known, quantiles=datasketches.kll_doubles_sketch.deserialize(quantiles)
        )


@dataclass
class Texts:
    """Strings: their lengths in characters, and how often the frequent ones occur.

    `untold`: each of them, and of those that are not listed, may have occurred so many times more: what was left out.
    """

    lengths: Numbers = field(default_factory=Numbers)
    frequent: datasketches.frequent_strings_sketch = field(
        default_factory=lambda: datasketches.frequent_strings_sketch(FREQUENT_LG_SLOTS), compare=False
    )
    untold: int = 0

    @property
    def is_choice(self) -> bool:
        """Whether the same texts come again and again, so that they can be counted one by one.

        Texts seen at least twice make up half of all, or there are too few texts to say.
        """
        if self.lengths.count < MIN_JUDGED_TEXTS:
            return True
        found = self.frequent.get_frequent_items(datasketches.NO_FALSE_NEGATIVES)
        often: int = sum(low for _, _, low, _ in found if low > 1)
        return often >= self.lengths.count / 2

    def update(self, counts: Mapping[str, int]) -> None:
        lengths = np.fromiter((len(text) for text in counts), dtype=np.float64, count=len(counts))
        self.lengths.update(np.repeat(lengths, list(counts.values())))
        for text, count in counts.items():
            if len(text) <= MAX_TEXT_CHARS:
                self.frequent.update(_without_surrogates(text), count)

    def merge(self, other: Texts) -> None:
        self.lengths.merge(other.lengths)
        self.frequent.merge(other.frequent)
        self.untold += other.untold

    def in_short(self) -> Texts:
        """The same without texts that hardly come again: of ids and prose only what stands out is kept.

        While so few came that all are listed, they are: several times together may show them to be a choice.
        """
        found = self.frequent.get_frequent_items(datasketches.NO_FALSE_NEGATIVES)
        if self.is_choice or (len(found) <= MAX_LISTED_TEXTS and all(low == high for _, _, low, high in found)):
            return self
        least = KEPT_OF_MANY * self.lengths.count
        made = Texts(self.lengths, untold=self.untold)
        for text, _, low, _ in found:
            if low >= least:
                made.frequent.update(text, low)
        made.untold += max((high if low < least else high - low for _, _, low, high in found), default=0)
        return made


@dataclass(frozen=True)
class Categories:
    """How often each value occurs. Values are written as JSON: `"red"`, `3`, `true`.

    `counts` never says too much: each true count is at most `error` higher. `total` also has the values that are not
    listed.
    """

    counts: Mapping[str, int]
    total: int
    error: int  # 0: every value is listed, with its exact count

    def top(self, n: int) -> list[tuple[str, int]]:
        """The `n` most frequent values, the most frequent first."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:n]


class FieldSketch:
    """One field over some time. Changed by `update` and `merge`; everything else only reads.

    Attributes:
        count: records, with and without the field.
        missing: those among them without a value: absent, null or NaN.
        types: how many of the values are of each type: number, string, boolean, array, object, infinity.
        numeric: the finite numbers; None if there are none.
        texts: the strings; None if there are none.
    """

    __slots__ = ("_distinct", "_trues", "count", "missing", "numeric", "texts", "types")

    def __init__(self) -> None:
        self.count = 0
        self.missing = 0
        self.types: dict[str, int] = {}
        self.numeric: Numbers | None = None
        self.texts: Texts | None = None
        self._trues = 0
        self._distinct: datasketches.hll_union | None = None  # a union: merging into a sketch would copy it twice

    @property
    def present(self) -> int:
        """Records that have a value."""
        return self.count - self.missing

    @property
    def distinct(self) -> int:
        """About how many different numbers and strings there are; booleans, arrays and objects do not count."""
        return 0 if self._distinct is None else round(self._distinct.get_estimate())

    def exact(self) -> tuple[object, ...]:
        """What two sketches of the same values, taken in the same way, have in common."""
        moments = [
            (one.count, one.low, one.high, one.mean, one.squares)
            for one in (self.numeric, None if self.texts is None else self.texts.lengths)
            if one is not None
        ]
        return self.count, self.missing, tuple(sorted(self.types.items())), self._trues, self.distinct, tuple(moments)

    @property
    def kind(self) -> Kind:
        """By the most frequent type; the order of `types` decides between equals.

        Numbers are categorical while they are a few whole ones (classes, codes, ratings). Strings are categorical
        while the same ones come again, else text: ids and prose, of which only lengths are compared.
        """
        if not self.types:
            return "empty"
        usual = max(_TYPES, key=lambda name: self.types.get(name, 0))
        if usual == "number" and self.numeric is not None:
            return "categorical" if _are_few_whole(self.numeric) else "numeric"
        if usual == "string" and self.texts is not None:
            return "categorical" if self.texts.is_choice else "text"
        return "boolean" if usual == "boolean" else "other"

    @property
    def categories(self) -> Categories | None:
        """How often each boolean, number and string occurs, if numbers are few and strings come again; else None."""
        return None if self.texts is not None and not self.texts.is_choice else self.counts()

    def counts(self) -> Categories | None:
        """The same also for strings that hardly come again; None if numbers are many, or no string was kept."""
        numbers = self.numeric.few if self.numeric is not None else {}
        texts = self.texts
        if numbers is None or (texts is not None and texts.frequent.is_empty() and not texts.untold):
            return None
        counts = {_as_json(value): count for value, count in numbers.items()}
        booleans = self.types.get("boolean", 0)
        counts |= {name: n for name, n in (("true", self._trues), ("false", booleans - self._trues)) if n}
        error, total = 0, booleans + sum(numbers.values())
        if texts is not None:
            found = texts.frequent.get_frequent_items(datasketches.NO_FALSE_NEGATIVES)
            counts |= {json.dumps(text, ensure_ascii=False): low for text, _, low, _ in found if low}
            error = max((high - low for _, _, low, high in found), default=0) + texts.untold
            total += texts.lengths.count
        return Categories(counts, total, error) if total else None

    def update(self, column: Column, absent: int = 0) -> None:
        """With one more value of this field for each record of some time, in any order.

        `column` holds JSON values (lists and objects are only counted), or is an array of doubles. `absent` more
        records had no such field.
        """
        self.count += len(column) + absent
        self.missing += absent
        if isinstance(column, np.ndarray):
            self._add_numbers(column)
        elif all(type(value) is float or type(value) is int for value in column):
            self._add_numbers(_to_doubles(column))
        else:
            self._add_mixed(column)

    def merge(self, other: FieldSketch) -> None:
        """With what `other` knows too; `other` stays as it is."""
        self.count += other.count
        self.missing += other.missing
        self._trues += other._trues
        for name, count in other.types.items():
            self._count(name, count)
        if other.numeric is not None:
            self.numeric = self.numeric or Numbers()
            self.numeric.merge(other.numeric)
        if other.texts is not None:
            self.texts = self.texts or Texts()
            self.texts.merge(other.texts)
        if other._distinct is not None:
            self._merge_distinct(other._distinct.get_result(datasketches.HLL_8))

    def as_lengths(self) -> FieldSketch:
        """The field of the lengths of its strings; what is no string is missing there."""
        made = FieldSketch()
        made.count = made.missing = self.count
        if self.texts is not None:
            made.numeric = Numbers()
            made.numeric.merge(self.texts.lengths)
            made.missing -= made.numeric.count
            made.types = {"number": made.numeric.count}
        return made

    def to_bytes(self, in_short: bool = False) -> bytes:
        """For `from_bytes`, of this or a later version. `in_short`: see `Texts.in_short`."""
        texts = self.texts.in_short() if self.texts is not None and in_short else self.texts
        body = _join(
            _HEAD.pack(self.count, self.missing, self._trues, *(self.types.get(name, 0) for name in _TYPES)),
            b"" if self.numeric is None else self.numeric.to_bytes(),
            b"" if texts is None else texts.lengths.to_bytes(),
            b"" if texts is None else texts.frequent.serialize(),
            b"" if self._distinct is None else self._distinct.get_result(datasketches.HLL_8).serialize_compact(),
            b"" if texts is None else _UNTOLD.pack(texts.untold),
        )
        return _START.pack(FORMAT_VERSION, zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> FieldSketch:
        """What `to_bytes` gave. Raises BadSketch."""
        head, numbers, lengths, frequent, distinct, untold = _split(_body(data), 6)
        made = cls()
        made.count, made.missing, made._trues, *types = _HEAD.unpack(head)
        made.types = {name: n for name, n in zip(_TYPES, types, strict=True) if n}
        made.numeric = Numbers.from_bytes(numbers) if numbers else None
        if lengths:
            made.texts = Texts(Numbers.from_bytes(lengths))
            if frequent:
                made.texts.frequent = datasketches.frequent_strings_sketch.deserialize(frequent)
            if untold:
                (made.texts.untold,) = _UNTOLD.unpack(untold)
        if distinct:
            made._merge_distinct(datasketches.hll_sketch.deserialize(distinct))
        return made

    def _count(self, name: str, count: int) -> None:
        if count:
            self.types[name] = self.types.get(name, 0) + count

    def _add_numbers(self, values: NDArray[np.float64]) -> None:
        finite = values[np.isfinite(values)]
        missing = int(np.isnan(values).sum())
        self.missing += missing
        self._count("number", finite.size)
        self._count("infinity", values.size - missing - finite.size)
        if not finite.size:
            return
        finite = finite + 0.0  # -0.0 and 0.0 are one number
        self.numeric = self.numeric or Numbers()
        self.numeric.update(finite)
        self._add_distinct(finite.tolist())

    def _add_mixed(self, column: Sequence[object]) -> None:
        numbers: list[object] = []
        texts: Counter[str] = Counter()
        for value in column:
            if isinstance(value, bool):
                self._count("boolean", 1)
                self._trues += value
            elif isinstance(value, str):
                texts[value] += 1
            elif isinstance(value, (int, float)):
                numbers.append(value)
            elif value is None:
                self.missing += 1
            else:
                self._count("object" if isinstance(value, Mapping) else "array", 1)
        self._add_numbers(_to_doubles(numbers))
        if texts:
            self._count("string", texts.total())
            self.texts = self.texts or Texts()
            self.texts.update(texts)
            self._add_distinct(_without_surrogates(text) for text in texts)

    def _add_distinct(self, values: Iterable[float | str]) -> None:
        if self._distinct is None:
            self._distinct = datasketches.hll_union(DISTINCT_LG_SLOTS)
        update = self._distinct.update
        for value in values:
            update(value)

    def _merge_distinct(self, other: datasketches.hll_sketch) -> None:
        if self._distinct is None:
            self._distinct = datasketches.hll_union(DISTINCT_LG_SLOTS)
        self._distinct.update(other)


def merged(sketches: Iterable[FieldSketch]) -> FieldSketch:
    """A new sketch of all of them together."""
    made = FieldSketch()
    for sketch in sketches:
        made.merge(sketch)
    return made


def _are_few_whole(numbers: Numbers) -> bool:
    return numbers.few is not None and all(value.is_integer() for value in numbers.few)


def _to_doubles(values: Sequence[object]) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:  # a whole number that no double holds
        return np.array([_to_double(value) for value in values], dtype=np.float64)


def _to_double(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf


def _as_json(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _without_surrogates(text: str) -> str:
    """DataSketches takes UTF-8; halves of surrogate pairs, which JSON allows, have none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _join(*parts: bytes) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _split(data: bytes, n_parts: int) -> list[bytes]:
    parts = []
    start = 0
    for _ in range(n_parts):
        if start == len(data):  # written by a release that had fewer
            parts.append(b"")
            continue
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        parts.append(data[start : start + length])
        start += length
    return parts


def _body(data: bytes) -> bytes:
    """What follows version and checksum, if both are right."""
    if len(data) < _START.size:
        raise BadSketch("not a sketch: it is too short")
    version, checksum = _START.unpack_from(data)
    if version != FORMAT_VERSION:
        raise BadSketch(f"a sketch of version {version}; this Hatchway reads version {FORMAT_VERSION}")
    body = data[_START.size :]
    if zlib.crc32(body) != checksum:
        raise BadSketch("a damaged sketch: its checksum is wrong")
    return body
