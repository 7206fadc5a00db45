# SPDX-License-Identifier: Apache-2.0
"""Which of our functions is which op of torch's op database: by name, and through adapters where the arguments differ. An adapter only
renames and reorders, or spells in our functions what is one argument of torch's."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tengen as tg
import tengen.linalg as L
import tengen.nn.functional as F

RANDOM = ["cauchy", "exponential", "geometric", "log_normal", "normal", "uniform", "randn", "randn_like", "rand_like", "randint", "randint_like",
         "multinomial", "bernoulli", "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d", "nn.functional.alpha_dropout",
         "nn.functional.feature_alpha_dropout", "nn.functional.rrelu", "nn.functional.fractional_max_pool2d",
         "nn.functional.fractional_max_pool3d", "svd_lowrank", "pca_lowrank"]
MEMORY = ["empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "empty_permuted", "resize_", "resize_as_"]
# Never, with the reason. What is neither here nor found by find() is "not yet".
REASONS = {
    "random numbers of another generator": RANDOM,
    "uninitialized or resized memory": MEMORY,
    "sparse tensors": ["to_sparse", "sparse.sampled_addmm", "sparse.mm", "_segment_reduce"],
    "torch's own machinery": ["jiterator_unary", "jiterator_binary", "jiterator_4inputs_with_extra_args", "jiterator_binary_return_by_ref",
                              "jiterator_2inputs_2outputs", "torch._scaled_mm_v2", "torch._scaled_mm", "hash_tensor",
                              "torch.ops.aten._flash_attention_forward", "torch.ops.aten._efficient_attention_forward",
                              "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu", "_chunk_cat", "_unsafe_masked_index",
                              "_unsafe_masked_index_put_accumulate", "native_dropout_backward", "_softmax_backward_data"],
}
LEFT_OUT = {name: reason for reason, names in REASONS.items() for name in names}

# Differences on purpose: (part of our error's message, what it is). Samples that end so count as skipped.
ON_PURPOSE = (
    ("expected an axis in [0, 0)", "an axis of a 0-d tensor is an error, as in NumPy"),
    ("[squeeze] expected size 1", "squeezing an axis that is not 1 is an error, as in NumPy"),
    ("[tensordot] expected equal sizes", "paired axes of sizes 1 and n are an error, as in NumPy"),
    ("rows in b, got", "b of more than one axis is matrices, as in the array API"),
)
# Samples with these keywords draw random numbers.
DRAWS = ("dropout_p",)
# Results equal, gradients not comparable: why.
NO_GRADIENT = {
    "nn.functional.max_unpool1d": "several inputs meet in one place: only the last has a gradient",
    "nn.functional.max_unpool2d": "several inputs meet in one place: only the last has a gradient",
    "nn.functional.max_unpool3d": "several inputs meet in one place: only the last has a gradient",
}


def left_out(name: str) -> str:
    return LEFT_OUT.get(name, "")


def bound_of(name: str, table: dict) -> float:
    """The bound of the op table of the same name, or that of an op of several roundings."""
    last = name.split(".")[-1]
    return table[last]["bound"] if last in table else 16.0


def find(name: str, variant: str) -> Callable | None:
    """Our function, or None."""
    for key in (f"{name} {variant}", name):
        if key in ADAPTERS:
            return ADAPTERS[key]
    name = SAME.get(name, name)
    space, _, last = name.rpartition(".")
    if space == "nn.functional":
        return getattr(F, last, None)
    place: Any = tg
    for part in filter(None, space.split(".")):
        place = getattr(place, part, None)
    found = getattr(place, last, None) or (None if space else getattr(tg.Tensor, last, None))
    return found if callable(found) and not isinstance(found, tg.dtype) else None


def rounded(f: Callable) -> Callable:
    def round_to(x: Any, decimals: int = 0) -> Any:
        return f(x) if decimals == 0 else f(x * 10.0**decimals) / 10.0**decimals
    return round_to


def cast_first(f: Callable) -> Callable:
    return lambda x, dim=None, dtype=None, **_: f(x if dtype is None else x.to(dtype), dim)


def with_index(reduce: Callable, along: Callable) -> Callable:
    def of(x: Any, *args: Any, **kwargs: Any) -> Any:
        return along(x, *args, **kwargs) if args or kwargs else reduce(x)
    return of


def spread(f: Callable) -> Callable:
    """var and std with torch's ways to say the correction."""
    def of(x: Any, *args: Any, dim: Any = None, unbiased: Any = None, correction: Any = 1, keepdim: bool = False) -> Any:
        args_left = list(args)
        if args_left and isinstance(args_left[0], bool):
            unbiased = args_left.pop(0)
        elif args_left:
            dim = args_left.pop(0)
            unbiased = args_left.pop(0) if args_left else unbiased
        if unbiased is not None:
            correction = int(unbiased)
        return f(x, () if dim is None else dim, 1 if correction is None else correction, keepdim)
    return of


def with_mean(f: Callable) -> Callable:
    def of(x: Any, *args: Any, **kwargs: Any) -> Any:
        axes = kwargs.get("dim", args[0] if args and not isinstance(args[0], bool) else None)
        return spread(f)(x, *args, **kwargs), tg.mean(x, () if axes is None else axes, kwargs.get("keepdim", False))
    return of


def flip(x: Any, *dims: Any, **kwargs: Any) -> Any:
    dims = kwargs.get("dims", dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)
    return tg.flip(x, dims) if dims else x.clone()


def broadcast(f: Callable) -> Callable:
    """torch broadcasts the first operand to the mask as well."""
    def of(x: Any, mask: Any, *rest: Any) -> Any:
        return f(x.expand(tg.broadcast_shapes(tuple(x.shape), tuple(mask.shape))), mask, *rest)
    return of


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    x = x if dtype is None else x.to(dtype)
    if p == "nuc":
        return L.matrix_norm(x, "nuc", *([] if dim is None else [dim]), keepdims=keepdim)
    return tg.norm(x, p, dim, keepdim)


def take_along(x: Any, index: Any, dim: Any = None) -> Any:
    return tg.take_along_axis(x.ravel(), index.ravel(), 0) if dim is None else tg.take_along_axis(x, index, dim)


def svd(x: Any, some: bool = True, compute_uv: bool = True) -> Any:
    u, s, vh = tg.svd(x, not some)
    return u, s, vh.mH


def einsum(operands: Any, equation: str) -> Any:
    return tg.einsum(equation, *operands)


def embedding(weight: Any, index: Any, **kwargs: Any) -> Any:
    return F.embedding(index, weight, **kwargs)


def pivoted(f: Callable) -> Callable:
    return lambda a, pivot=True, **_: f(a)


def search(f: Callable) -> Callable:
    def of(a: Any, b: Any, *, out_int32: bool = False, right: bool = False, side: Any = None, sorter: Any = None) -> Any:
        a = a if sorter is None else tg.take_along_axis(a, sorter, -1)
        found = f(a, b, right=right) if side is None or f is tg.bucketize else f(a, b, side=side)
        return found.to(tg.int32) if out_int32 else found
    return of


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return tg.topk(x, k, dim, largest)


def lists(f: Callable) -> Callable:
    return lambda *xs: f(*(xs[0] if len(xs) == 1 and isinstance(xs[0], (list, tuple)) else xs))


def cast_to(dtype: Any) -> Callable:
    return lambda x, **_: x.to(dtype)


def bucket(values: Any, boundaries: Any, **kwargs: Any) -> Any:
    return search(tg.bucketize)(values, boundaries, **kwargs)


def slices(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    index = [slice(None)] * x.ndim
    index[dim] = slice(start, end, step)
    return x[tuple(index)]


def median(skip: bool) -> Callable:
    """torch's: the lower of two middle elements, with its place."""
    def of(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return (tg.nanquantile if skip else tg.quantile)(x, 0.5, interpolation="lower")
        count = tg.sum(~tg.isnan(x), dim) if skip else None
        if count is not None and x.ndim and bool((count != x.shape[dim]).any()):
            raise NotImplementedError("places of medians without NaN: not yet")
        return tg.kthvalue(x, (x.shape[dim] + 1) // 2 if x.ndim else 1, dim, keepdim)
    return of


def distance_loss(anchor: Any, positive: Any, negative: Any, distance_function: Any = None, **kwargs: Any) -> Any:
    """torch's distances as ours."""
    ours = {"PairwiseDistance": F.pairwise_distance, "cosine_similarity": F.cosine_similarity}
    name = getattr(distance_function, "__name__", type(distance_function).__name__)
    return F.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=ours.get(name, distance_function), **kwargs)


def lu(a: Any, pivot: bool = True, get_infos: bool = False) -> Any:
    return tuple(L.lu_factor_ex(a))[: 3 if get_infos else 2]


ADAPTERS: dict[str, Callable] = {
    "linalg.lstsq grad_oriented": lambda a, b, driver=None: tuple(L.lstsq(a, b, driver=driver))[:2],
    "median": median(False), "nanmedian": median(True), "nn.functional.triplet_margin_with_distance_loss": distance_loss,
    # Of log-probabilities that are normalised: log_softmax of them is the identity, and projects the gradient as torch's has it.
    "nn.functional.ctc_loss": lambda x, *rest, **kwargs: F.ctc_loss(tg.log_softmax(x, -1), *rest, **kwargs),
    "nn.functional.embedding_bag": lambda weight, index, offsets=None, **kwargs: F.embedding_bag(index, weight, offsets, **kwargs),
    "constant_pad_nd": lambda x, pad, value=0.0: F.pad(x, pad, "constant", value),
    "rsub": lambda x, y, alpha=1: y - (x if alpha == 1 else x * alpha),
    "__radd__": lambda x, y: y + x, "__rmul__": lambda x, y: y * x, "__rsub__": lambda x, y: y - x, "__rdiv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x, "__rmod__": lambda x, y: y % x, "__rmatmul__": lambda x, y: tg.matmul(y, x),
    "round": rounded(tg.round),
    "equal": tg.array_equal, "flip": flip, "where": lambda x, condition, other: tg.where(condition, x, other),
    "ldexp": tg.ldexp, "masked_fill": broadcast(tg.masked_fill), "masked_scatter": broadcast(tg.masked_scatter),
    "diag_embed": lambda x, offset=0, dim1=-2, dim2=-1: tg.diag_embed(x, offset, dim1, dim2),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: tg.diagonal(x, offset, dim1, dim2),
    "diagonal_copy": lambda x, offset=0, dim1=0, dim2=1: tg.diagonal(x, offset, dim1, dim2),
    "max reduction_with_dim": tg.max_with_indices, "min reduction_with_dim": tg.min_with_indices, "max binary": tg.maximum,
    "min binary": tg.minimum, "softmax": cast_first(tg.softmax), "log_softmax": cast_first(tg.log_softmax),
    "nn.functional.softmin": cast_first(lambda x, dim: tg.softmax(-x, dim)), "var": spread(tg.var), "std": spread(tg.std),
    "var_mean": with_mean(tg.var), "std_mean": with_mean(tg.std),
    "topk": topk, "norm": norm, "take_along_dim": take_along, "svd": svd, "einsum": einsum, "nn.functional.embedding": embedding,
    "linalg.lu": pivoted(L.lu), "linalg.lu_factor": pivoted(L.lu_factor), "linalg.lu_factor_ex": pivoted(L.lu_factor_ex),
    "lu_solve": lambda b, lu, pivots: L.lu_solve(lu, pivots, b), "lu": lu,
    "linalg.pinv singular": lambda a, b: L.pinv(a @ b.mT), "searchsorted": search(tg.searchsorted),
    "bucketize": bucket, "slice": slices, "atleast_1d": lists(tg.atleast_1d),
    "atleast_2d": lists(tg.atleast_2d), "atleast_3d": lists(tg.atleast_3d), "T": lambda x: x.T, "mT": lambda x: x.mT, "H": lambda x: x.mH, "mH": lambda x: x.mH,
    "squeeze multiple": lambda x, dims: tg.squeeze(x, [d for d in dims if not x.ndim or x.shape[d] == 1]) if not x.ndim or any(x.shape[d] == 1 for d in dims) else x,
    "unfold": lambda x, dim, size, step: tg.sliding_window(x, dim, size, step), "zero_": lambda x: x.clone().zero_(),
    "unfold_copy": lambda x, dim, size, step: tg.sliding_window(x, dim, size, step), "fill": lambda x, value: tg.full_like(x, 0).fill_(value) if not tg.is_tensor(value) else tg.where(tg.ones_like(x, dtype=tg.bool), value, x),
    "bfloat16": cast_to(tg.bfloat16), "bool": cast_to(tg.bool), "double": cast_to(tg.float64), "half": cast_to(tg.float16),
    "long": cast_to(tg.int64), "short": cast_to(tg.int16), "float": cast_to(tg.float32), "int": cast_to(tg.int32), "byte": cast_to(tg.uint8),
    "char": cast_to(tg.int8),
    "split_with_sizes": lambda x, sizes, dim=0: tg.split(x, sizes, dim=dim),
    "split_with_sizes_copy": lambda x, sizes, dim=0: tg.split(x, sizes, dim=dim), "polygamma": lambda x, n: tg.polygamma(x, n),
    "special.polygamma": lambda x, n: tg.polygamma(x, n), "scalar_tensor": tg.tensor, "sum_to_size": lambda x, *size: x.sum_to_size(*size), "repeat": lambda x, *sizes: x.repeat(*sizes),
    "linalg.vecdot": lambda x, y, dim=-1: L.vecdot(x, y, axis=dim - max(x.ndim, y.ndim) if dim >= 0 else dim),
}
# Torch's other names: copies of views, in-place-safe forms, special functions that are elementwise ops here.
SAME = {
    "alias_copy": "clone", "expand_copy": "expand", "permute_copy": "permute", "squeeze_copy": "squeeze", "unsqueeze_copy": "unsqueeze",
    "transpose_copy": "transpose", "t_copy": "t", "view_copy": "view", "unbind_copy": "unbind", "narrow_copy": "narrow",
    "unsafe_chunk": "chunk", "unsafe_split": "split", "as_strided_copy": "as_strided",
    "special.i1": "i1", "special.modified_bessel_i0": "i0", "special.modified_bessel_i1": "i1",
    "nn.functional.logsigmoid": "logsigmoid", "nn.functional.upsample_nearest": "nn.functional.upsample",
}
