# SPDX-License-Identifier: Apache-2.0
"""The random generator: one stateless Philox stream, the same numbers on every device.

>>> generator = tg.manual_seed(0)
>>> state = tg.random.get_rng_state()
>>> a = tg.rand(3)
>>> tg.random.set_rng_state(state)
>>> bool((a == tg.rand(3)).all())
True
"""
from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _core
from ._core import Tensor, get_rng_state

__all__ = [
    "Generator", "beta", "default_generator", "exponential", "fork_rng", "gamma", "get_rng_state", "initial_seed", "manual_seed", "normal",
    "permutation", "poisson", "seed", "set_rng_state", "shuffle", "uniform",
]  # fmt: skip


def manual_seed(seed: int) -> Generator:
    """Starts the random generator again from a seed; equal seeds give equal numbers on every device.

    Parameters
    ----------
    seed : int
        of 64 bits: from -2**63 to 2**64 - 1, where -1 and 2**64 - 1 are one seed

    Returns
    -------
    Generator
        the global one, default_generator

    Raises
    ------
    TypeError, ValueError
        for what is no integer, or has more bits
    """
    _core.manual_seed(_checked_seed(seed, "manual_seed"))
    return default_generator


def initial_seed() -> int:
    """The seed of the random generator, from 0 to 2**64 - 1."""
    return _core.initial_seed() % 2**64


def set_rng_state(state: tuple[int, int]) -> None:
    """Puts the random generator into a state that get_rng_state() gave.

    Raises
    ------
    TypeError, ValueError
        for what is no pair of integers, an offset below 0, and numbers of more than 64 bits
    """
    _core.set_rng_state(_checked_state(state, "set_rng_state"))


def seed() -> int:
    """Seeds the generator from the operating system's entropy; returns the seed."""
    import secrets

    value = secrets.randbits(63)
    manual_seed(value)
    return value


@contextmanager
def fork_rng() -> Iterator[None]:
    """What is drawn inside leaves the generator as it was."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


class Generator:
    """A random generator of its own: a seed and how far it has come.

    What is drawn inside ``with generator:`` comes from it, and the global generator stays where it was; ``rand``, ``randn``, ``randint`` and
    ``randperm`` take it as ``generator=``. It is used by one thread at a time.

    Parameters
    ----------
    seed : int
        equal seeds give equal numbers on every device

    Examples
    --------
    >>> g = tg.Generator(3)
    >>> a = tg.rand(2, generator=g)
    >>> bool((a == tg.rand(2, generator=tg.Generator(3))).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self._state, self._outer = (_checked_seed(seed, "Generator"), 0), []

    def manual_seed(self, seed: int) -> Generator:
        """Starts again from a seed; returns itself."""
        self._check_idle("manual_seed")
        self._state = (_checked_seed(seed, "manual_seed"), 0)
        return self

    def seed(self) -> int:
        """Starts again from the operating system's entropy; returns the seed."""
        import secrets

        value = secrets.randbits(63)
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed, from 0 to 2**64 - 1."""
        return self.get_state()[0] % 2**64

    def get_state(self) -> tuple[int, int]:
        """(seed, offset), for set_state()."""
        return get_rng_state() if self._outer else self._state

    def set_state(self, state: tuple[int, int]) -> None:
        """Puts the generator into a state that get_state() gave."""
        self._check_idle("set_state")
        self._state = _checked_state(state, "set_state")

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        other = Generator()
        other._state = self.get_state()
        return other

    def fork(self) -> Generator:
        """An independent generator, whose seed is drawn from this one (which moves on)."""
        with self:
            high, low = _core.ops["randint"](0, 2**31, (2,), device="cpu").tolist()
        return Generator(high << 31 | low)

    def __enter__(self) -> Generator:
        outer = get_rng_state()
        if not self._outer:  # inside itself it goes on
            set_rng_state(self._state)
        self._outer.append(outer)
        return self

    def __exit__(self, *exception: object) -> None:
        outer = self._outer.pop()
        if not self._outer:
            self._state = get_rng_state()
            set_rng_state(outer)

    def __repr__(self) -> str:
        seed, offset = self.get_state()
        return f"Generator(seed={seed}, offset={offset})"

    def _check_idle(self, name: str) -> None:
        if self._outer:
            raise RuntimeError(f"[{name}] expected a generator that is not in use, got one inside its own with block; leave it first")


class _DefaultGenerator(Generator):
    """The global generator as an object."""

    def manual_seed(self, seed: int) -> Generator:
        """manual_seed() of the package; returns itself."""
        return manual_seed(seed)

    def get_state(self) -> tuple[int, int]:
        """get_rng_state()."""
        return get_rng_state()

    def set_state(self, state: tuple[int, int]) -> None:
        """set_rng_state()."""
        set_rng_state(state)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def _checked_seed(seed: int, name: str) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"[{name}] expected an integer as seed, got {type(seed).__name__}") from None
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"[{name}] expected a seed of 64 bits, got {seed}")
    return value - 2**64 if value >= 2**63 else value


def _checked_state(state: tuple[int, int], name: str) -> tuple[int, int]:
    try:
        seed, offset = map(operator.index, state)
    except (TypeError, ValueError):
        raise TypeError(f"[{name}] expected a state (seed, offset) as get_rng_state() gives it, got {state!r}") from None
    if not 0 <= offset < 2**63:
        raise ValueError(f"[{name}] expected an offset from 0 to 2**63 - 1, got {offset}")
    return _checked_seed(seed, name), offset


default_generator = _DefaultGenerator()


# ---- draws with NumPy's arguments: parameters, which may be tensors, and a size in front of their shape ----------------------


def _parameters(size: int | Sequence[int] | None, *values: Any) -> list[Tensor]:
    """The parameters, broadcast to one another and then to size + their shape."""
    from ._manipulation import broadcast_shapes

    given = next((v for v in values if isinstance(v, Tensor)), None)
    dtype, device = (_core.float32, None) if given is None else (given.dtype, given.device)
    tensors = [v if isinstance(v, Tensor) else _core.asarray(v, dtype=dtype, device=device) for v in values]
    front = () if size is None else (size,) if isinstance(size, int) else tuple(size)
    shape = (*front, *broadcast_shapes(*(t.shape for t in tensors)))
    return [_core.ops["expand"](t, shape) for t in tensors]


def uniform(low: Any = 0.0, high: Any = 1.0, size: int | Sequence[int] | None = None) -> Tensor:
    """Uniform in [low, high).

    Examples
    --------
    >>> x = tg.random.uniform(2, 3, size=(2, 5))
    >>> tuple(x.shape), bool((x >= 2).all() and (x < 3).all())
    ((2, 5), True)
    """
    a, b = _parameters(size, low, high)
    return a + (b - a) * _core.ops["uniform"](a.shape, dtype=a.dtype, device=a.device)


def normal(mean: Any = 0.0, std: Any = 1.0, size: int | Sequence[int] | None = None) -> Tensor:
    """Normal numbers."""
    m, s = _parameters(size, mean, std)
    return m + s * _core.ops["normal"](m.shape, dtype=m.dtype, device=m.device)


def exponential(scale: Any = 1.0, size: int | Sequence[int] | None = None) -> Tensor:
    """Exponential numbers of mean `scale`."""
    (s,) = _parameters(size, scale)
    return s * _core.ops["exponential"](s.shape, dtype=s.dtype, device=s.device)


def gamma(shape: Any, scale: Any = 1.0, size: int | Sequence[int] | None = None) -> Tensor:
    """Gamma numbers of mean shape * scale, differentiable in both."""
    k, s = _parameters(size, shape, scale)
    return s * _core.ops["standard_gamma"](k)


def beta(a: Any, b: Any, size: int | Sequence[int] | None = None) -> Tensor:
    """Beta numbers of mean a / (a + b), differentiable in both."""
    return _core.ops["beta"](*_parameters(size, a, b))


def poisson(lam: Any, size: int | Sequence[int] | None = None) -> Tensor:
    """Poisson numbers of mean `lam`, as floats."""
    return _core.ops["poisson"](*_parameters(size, lam))


def permutation(n: int | Tensor) -> Tensor:
    """The numbers below n in an order at random, int64; or a copy of a tensor with its parts along axis 0 in such an order."""
    if isinstance(n, Tensor):
        return _core.ops["index_select"](n, _core.ops["randperm"](n.shape[0], device=n.device), 0)
    return _core.ops["randperm"](n)


def shuffle(x: Tensor) -> None:
    """Puts the parts of x along axis 0 into an order at random, in place.

    Examples
    --------
    >>> x = tg.arange(5)
    >>> tg.random.shuffle(x)
    >>> sorted(x.tolist())
    [0, 1, 2, 3, 4]
    """
    if x.ndim == 0:
        raise ValueError("[shuffle] expected at least one axis, got shape ()")
    x.copy_(permutation(x.detach()))
