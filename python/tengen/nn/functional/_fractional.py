# SPDX-License-Identifier: Apache-2.0
"""Max pools over windows that begin at random, about evenly spread places (B. Graham, Fractional Max-Pooling, 2014)."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from ._arguments import sizes

__all__ = ["fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d", "fractional_max_pool3d_with_indices",
           "fractional_max_pool_op"]


def _starts(n: int, kernel: int, out: int, sample: Any) -> Any:
    """Where windows begin, [N, C, out]: steps of alpha, shifted by a part of a step; the last one ends with the axis."""
    alpha = (n - kernel) / (out - 1) if out > 1 else 0.0
    i = tg.arange(out - 1, device=sample.device).to(sample.dtype)
    u = sample.unsqueeze(-1)
    inner = ((i + u) * alpha).floor() - (u * alpha).floor()
    last = tg.full((*sample.shape, 1), float(n - kernel), sample.dtype, sample.device)
    return tg.concat([inner, last], -1).to(tg.int64)


def fractional_max_pool_op(x: Any, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: bool, samples: Any, rank: int) -> Any:
    op = f"fractional_max_pool{rank}d"
    if x.ndim == rank + 1:
        got = fractional_max_pool_op(x.unsqueeze(0), kernel_size, output_size, output_ratio, return_indices, samples, rank)
        return tuple(y.squeeze(0) for y in got) if return_indices else got.squeeze(0)
    if x.ndim != rank + 2:
        raise ValueError(f"[{op}] expected {rank + 1} or {rank + 2} axes, got shape {tuple(x.shape)}")
    kernel, shape = sizes(kernel_size, rank, op, "kernel_size", 1), tuple(x.shape[2:])
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"[{op}] expected one of output_size and output_ratio")
    if output_size is None:
        ratio = (output_ratio,) * rank if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        if len(ratio) != rank or not all(0 < r < 1 for r in ratio):
            raise ValueError(f"[{op}] expected output ratios between 0 and 1, got {output_ratio!r}")
        output_size = tuple(int(n * r) for n, r in zip(shape, ratio))
    out = sizes(output_size, rank, op, "output_size", 1)
    if any(o + k - 1 > n for n, k, o in zip(shape, kernel, out)):
        raise ValueError(f"[{op}] expected output sizes of at most {tuple(n - k + 1 for n, k in zip(shape, kernel))} for sizes {shape} and "
                         f"windows {kernel}, got {out}")
    batch = tuple(x.shape[:2])
    if samples is None:
        samples = tg.rand((*batch, rank), dtype=x.dtype if x.dtype in (tg.float32, tg.float64) else tg.float32, device=x.device)
    # torch's order: the last number is for the first axis of an image, the first one of a volume.
    order = reversed(range(rank)) if rank == 2 else range(rank)
    starts = [_starts(n, k, o, samples.select(-1, s)) for n, k, o, s in zip(shape, kernel, out, order)]
    windows, places = x, None
    for axis in range(rank):
        at = (starts[axis].unsqueeze(-1) + tg.arange(kernel[axis], device=x.device)).reshape(*batch, -1)  # [N, C, out * kernel]
        one = at.reshape(*batch, *(at.shape[-1] if a == axis else 1 for a in range(rank)))
        full = (*batch, *windows.shape[2:2 + axis], at.shape[-1], *windows.shape[3 + axis:])
        windows = tg.take_along_axis(windows, one.expand(full), 2 + axis)
        step = math.prod(shape[axis + 1:])
        places = one * step if places is None else places + one * step
    split = [v for o, k in zip(out, kernel) for v in (o, k)]
    order = [0, 1, *(2 + 2 * a for a in range(rank)), *(3 + 2 * a for a in range(rank))]

    def grouped(y: Any) -> Any:
        return y.reshape(*batch, *split).permute(order).reshape(*batch, *out, math.prod(kernel))

    best = grouped(windows)
    which = best.detach().argmax(-1, True)
    y = tg.take_along_axis(best, which, -1).squeeze(-1)
    return (y, tg.take_along_axis(grouped(places), which, -1).squeeze(-1)) if return_indices else y


_DOC = """The largest elements of windows that begin at random places.

    Parameters
    ----------
    input : Tensor
        [N, C, {axes}] or [C, {axes}]
    kernel_size : int or tuple
        of the windows
    output_size : int or tuple
        how many windows; or
    output_ratio : float or tuple
        their number over the input's size, between 0 and 1
    return_indices : bool
        also where in the flat {what} the largest element was
    """


def _made(rank: int, with_indices: bool) -> Any:
    def pool(input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = with_indices,
             _random_samples: Any = None) -> Any:
        return fractional_max_pool_op(input, kernel_size, output_size, output_ratio, return_indices, _random_samples, rank)

    pool.__name__ = pool.__qualname__ = f"fractional_max_pool{rank}d" + ("_with_indices" if with_indices else "")
    pool.__doc__ = _DOC.format(axes="H, W" if rank == 2 else "D, H, W", what="plane" if rank == 2 else "volume")
    return pool


fractional_max_pool2d, fractional_max_pool3d = _made(2, False), _made(3, False)
fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = _made(2, True), _made(3, True)
