"""Channel spaces: tensor dimensions that are the same list of channels.

Every dimension of a parameter or activation is a :class:`Space`. Operators unify spaces: a residual sum those of its
operands, a matrix product the channels that one layer writes with those that the next one reads. A reshape splits a
space into a product of spaces (a fused ``qkv`` is 3 x heads x head width); a concatenation is a sum of spaces.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal


class SpaceError(ValueError):
    """An error about two dimensions that cannot be the same space, or one that cannot be split."""


class Space:
    """A dimension of a tensor: channels, positions, heads.

    Attributes:
        size: Number of entries.
        fixed: Why both models must have the same size here (such as ``'position'``), or ``None`` if the motivated
            model's may be larger.
        kind: ``'product'`` or ``'sum'`` of ``parts``, or ``None`` if not split.
        parts: The spaces it is split into, outermost first.
    """

    __slots__ = ('_alias', 'fixed', 'kind', 'parts', 'size')

    def __init__(self, size: int, fixed: str | None = None) -> None:
        self.size = size
        self.fixed = fixed
        self.kind: Literal['product', 'sum'] | None = None
        self.parts: tuple[Space, ...] = ()
        self._alias: Space | None = None

    def find(self) -> 'Space':
        """Return the representative of all spaces unified with this one."""
        space = self
        while space._alias is not None:
            space = space._alias
        return space

    def leaves(self) -> Iterator['Space']:
        """Yield the unsplit spaces that it consists of."""
        space = self.find()
        if space.kind is None:
            yield space
        for part in space.parts:
            yield from part.leaves()

    def fix(self, reason: str) -> None:
        """Require the same size in both models, for a reason used in error messages."""
        for leaf in self.leaves():
            leaf.fixed = leaf.fixed or reason

    @property
    def is_fixed(self) -> bool:
        """Whether all of its parts are fixed."""
        return all(leaf.fixed for leaf in self.leaves())

    def split(self, kind: Literal['product', 'sum'], sizes: Sequence[int]) -> list['Space']:
        """Split a space into a product or sum of new ones, and return these.

        Raises:
            SpaceError: The product, or sum, of the sizes is not the size of the space.
        """
        total = math.prod(sizes) if kind == 'product' else sum(sizes)
        if total != self.size:
            raise SpaceError(f'{self.size} channels do not split into {" x ".join(map(str, sizes))}')
        self.kind, self.parts = kind, tuple(Space(size, self.fixed) for size in sizes)
        return list(self.parts)


def compose(kind: Literal['product', 'sum'], parts: Sequence[Space]) -> Space:
    """Return the product or sum of spaces."""
    if len(parts) == 1:
        return parts[0]
    sizes = [part.size for part in parts]
    space = Space(math.prod(sizes) if kind == 'product' else sum(sizes))
    space.kind, space.parts = kind, tuple(parts)
    return space


def unify(first: Space, second: Space) -> None:
    """Make two dimensions the same space.

    Raises:
        SpaceError: Their sizes differ, or their parts do not match.
    """
    one, other = first.find(), second.find()
    if one is other:
        return
    if one.size != other.size:
        raise SpaceError(f'{one.size} channels meet {other.size}')
    if one.kind is None or other.kind is None:
        leaf, rest = (one, other) if one.kind is None else (other, one)
        if any(part is leaf for part in rest.leaves()):  # all other parts have one entry
            leaf, rest = rest, leaf
        elif leaf.fixed:
            rest.fix(leaf.fixed)
        leaf._alias = rest
    else:
        if one.kind != other.kind:
            as_product(one if one.kind == 'sum' else other)
        _unify_parts(one, other)


def as_product(space: Space) -> None:
    """Turn a sum of n equal spaces into a product of n and one of them, so that separate q, k, v match a fused ``qkv``.

    Raises:
        SpaceError: The terms have different sizes.
    """
    terms = flatten(space, 'sum')
    for term in terms[1:]:
        unify(terms[0], term)
    space.kind, space.parts = 'product', (Space(len(terms), 'part'), terms[0])


def _unify_parts(one: Space, other: Space) -> None:
    """Unify two products, or two sums, part by part, splitting parts whose sizes differ."""
    kind = one.kind
    assert kind is not None
    neutral = 1 if kind == 'product' else 0
    left, right = (list(reversed(flatten(space, kind))) for space in (one, other))
    while left and right:
        a, b = left.pop().find(), right.pop().find()
        if a.size == b.size:
            unify(a, b)
        elif neutral in (a.size, b.size):
            (right if a.size == neutral else left).append(b if a.size == neutral else a)
        else:
            larger, smaller, rest = (a, b, left) if a.size > b.size else (b, a, right)
            head, tail = divide(larger, smaller.size, kind)
            unify(head, smaller)
            rest.append(tail)


def divide(space: Space, size: int, kind: Literal['product', 'sum']) -> tuple[Space, Space]:
    """Split an unsplit space in two, the first of a given size."""
    if space.kind is not None or (kind == 'product' and space.size % size):
        raise SpaceError(f'{space.size} channels do not split at {size}')
    head, tail = space.split(kind, (size, space.size // size if kind == 'product' else space.size - size))
    return head, tail


def flatten(space: Space, kind: Literal['product', 'sum']) -> list[Space]:
    """Return the factors of a product or the terms of a sum, including nested ones."""
    space = space.find()
    if space.kind != kind:
        return [space]
    return [leaf for part in space.parts for leaf in flatten(part, kind)]


def cut(space: Space, sizes: Sequence[int]) -> list[Space]:
    """Cut a dimension into consecutive pieces of given sizes.

    Raises:
        SpaceError: Its parts cannot be cut there.
    """
    space = space.find()
    if space.is_fixed:
        return [Space(size, 'position') for size in sizes]
    if space.kind == 'product' and len(set(sizes)) == 1 and flatten(space, 'product')[0].size == len(sizes):
        return [compose('product', flatten(space, 'product')[1:])] * len(sizes)  # q, k and v of a fused qkv
    terms = list(reversed(flatten(space, 'sum')))
    result = []
    for size in sizes:
        taken: list[Space] = []
        missing = size
        while missing:
            term = terms.pop().find()
            if term.size > missing:
                term, rest = divide(term, missing, 'sum')
                terms.append(rest)
            taken.append(term)
            missing -= term.size
        result.append(compose('sum', taken))
    return result


def factor(spaces: Sequence[Space], sizes: Sequence[int]) -> list[Space]:
    """Reshape neighbouring dimensions.

    Args:
        spaces: The dimensions before, whose sizes have the same product as ``sizes``.
        sizes: Sizes of the dimensions after.

    Raises:
        SpaceError: The parts of a dimension do not allow these sizes.
    """
    if all(space.is_fixed for space in spaces):
        return [Space(size, 'position') for size in sizes]
    factors = list(reversed([leaf for space in spaces for leaf in flatten(space, 'product')]))
    result = []
    for position, size in enumerate(sizes):
        if size == 1:
            if factors and factors[-1].size > 1 and factors[-1].kind is None and any(s > 1 for s in sizes[position:]):
                # Keeps a single head as a factor, so that it matches several heads of the other model.
                factors[-1:] = reversed(factors[-1].split('product', (1, factors[-1].size)))
            result.append(factors.pop() if factors and factors[-1].size == 1 else Space(1, 'single'))
            continue
        taken: list[Space] = []
        missing = size
        while missing > 1:
            part = factors.pop().find()
            if part.size <= missing:
                taken.append(part)
                missing = missing // part.size if missing % part.size == 0 else 0
                continue
            if part.kind == 'sum':
                as_product(part)
                factors += reversed(flatten(part, 'product'))
            else:
                factors += reversed(part.split('product', _cover(part, missing, sizes[position + 1 :])))
        if missing == 0:
            raise SpaceError(f'{taken[-1].size} channels do not divide {size}')
        result.append(compose('product', taken))
    return result


def _cover(space: Space, first: int, following: Sequence[int]) -> list[int]:
    """Return sizes to split a space into: ``first``, as many of ``following`` as fit, and the rest."""
    sizes = [first]
    for size in following:
        if math.prod(sizes) * size > space.size:
            break
        sizes.append(size)
    rest = space.size // math.prod(sizes)
    return [*sizes, rest] if rest > 1 else sizes
