"""Which part of a tensor an index like [a:b, c:d] needs from the file. Pure."""
from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

from ._library import Slice

if TYPE_CHECKING:
    from ._model import Info


class Part(NamedTuple):
    """A box of the tensor to load, and what to take from it."""
    native: Slice | None  # None: all of it
    shape: tuple[int, ...]  # of the box
    taken: tuple[Any, ...]  # index into the box
    result_shape: tuple[int, ...]


class _Range(NamedTuple):
    """Of one dimension: begin <= end, every step-th; or one element, whose dimension goes."""
    begin: int
    end: int
    step: int
    single: bool

    @property
    def length(self) -> int:
        return len(range(self.begin, self.end, self.step))

    def within(self, begin: int) -> Any:
        if self.single:
            return self.begin - begin
        return slice(self.begin - begin, self.end - begin, self.step)


def _range(item: Any, size: int, dimension: int) -> _Range:
    if isinstance(item, slice):
        begin, end, step = item.indices(size)
        if step < 0:
            raise ValueError("slices with a negative step are not supported")
        return _Range(begin, max(begin, end), step, False)
    try:
        at = operator.index(item)
    except TypeError:
        raise TypeError(f"index {item!r}: expected integers, slices and '...'") from None
    if not -size <= at < size:
        raise IndexError(f"index {at} is out of range for dimension {dimension} of size {size}")
    at %= size
    return _Range(at, at + 1, 1, True)


def _expand(index: Any, dimensions: int) -> list[Any]:
    items = list(index) if isinstance(index, tuple) else [index]
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can have only one '...'")
    missing = dimensions - (len(items) - len(dots))
    if missing < 0:
        raise IndexError(f"too many indices: {len(items)} for {dimensions} dimensions")
    at = dots[0] if dots else len(items)
    return items[:at] + [slice(None)] * missing + items[at + len(dots):]


def part_of(info: Info, index: Any) -> Part:
    shape = info.shape
    ranges = [_range(item, size, i)
              for i, (item, size) in enumerate(zip(_expand(index, len(shape)), shape))]
    result = tuple(r.length for r in ranges if not r.single)
    # The matrix of the file shows one dimension of a vector, and the first two of others.
    native, cut = None, 0
    if len(shape) == 1 and info.rows == shape[0]:
        native, cut = Slice(ranges[0].begin, ranges[0].end, 0, info.columns), 1
    elif len(shape) == 1 and info.columns == shape[0]:
        native, cut = Slice(0, info.rows, ranges[0].begin, ranges[0].end), 1
    elif len(shape) > 1 and info.rows == shape[0]:
        inner = math.prod(shape[2:])
        native = Slice(ranges[0].begin, ranges[0].end,
                       ranges[1].begin * inner, ranges[1].end * inner)
        cut = 2
    box = tuple(r.end - r.begin for r in ranges[:cut]) + shape[cut:]
    inside = tuple(r.within(r.begin if i < cut else 0) for i, r in enumerate(ranges))
    return Part(native, box, inside, result)
