# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: convolution and pooling against NumPy formulas."""
import itertools
import math

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen.nn.functional as F
from tengen import nn


def np_windows(x, kernel, stride, dilation):
    """x[N, C, s...] as [N, C, t..., k...]."""
    d = len(kernel)
    out = [(n - dl * (k - 1) - 1) // s + 1 for n, k, s, dl in zip(x.shape[2:], kernel, stride, dilation)]
    result = np.empty((*x.shape[:2], *out, *kernel), x.dtype)
    for at in itertools.product(*map(range, kernel)):
        cut = tuple(slice(a * dl, a * dl + s * (o - 1) + 1, s) for a, dl, s, o in zip(at, dilation, stride, out))
        result[(slice(None),) * (2 + d) + at] = x[(slice(None), slice(None), *cut)]
    return result


def np_conv(x, w, b, stride, padding, dilation, groups):
    d = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) if np.isscalar(p) else p for p in padding]])
    out = []
    for g in range(groups):
        c, o = x.shape[1] // groups, w.shape[0] // groups
        win = np_windows(x[:, g * c:(g + 1) * c], w.shape[2:], stride, dilation)
        y = np.tensordot(win, w[g * o:(g + 1) * o], ([1, *range(2 + d, 2 + 2 * d)], [1, *range(2, 2 + d)]))
        out.append(np.moveaxis(y, -1, 1))
    y = np.concatenate(out, 1)
    return y if b is None else y + b.reshape(-1, *[1] * d)


CONVS = [
    (nn.Conv1d, (2, 3, 11), dict(out_channels=4, kernel_size=3)),
    (nn.Conv1d, (2, 4, 11), dict(out_channels=6, kernel_size=3, stride=2, padding=2, dilation=2, groups=2)),
    (nn.Conv2d, (2, 3, 7, 9), dict(out_channels=5, kernel_size=3, padding=1)),
    (nn.Conv2d, (1, 4, 8, 6), dict(out_channels=4, kernel_size=(3, 2), stride=(2, 1), padding=(0, 1), groups=4)),
    (nn.Conv2d, (2, 1, 6, 6), dict(out_channels=2, kernel_size=1, bias=False)),
    (nn.Conv2d, (2, 16, 6, 6), dict(out_channels=32, kernel_size=3, padding=1, bias=False)),
    (nn.Conv3d, (1, 2, 4, 5, 6), dict(out_channels=3, kernel_size=(2, 3, 3), padding=(1, 0, 1))),
]


@pytest.mark.parametrize("cls, shape, options", CONVS, ids=range(len(CONVS)))
def test_conv(cls, shape, options):
    layer, x = cls(shape[1], **options), rand(*shape)
    n = len(shape) - 2
    w, b = layer.weight.detach().numpy(), None if layer.bias is None else layer.bias.detach().numpy()
    want = np_conv(x, w, b, layer.stride, layer.padding, layer.dilation, layer.groups)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, want, 1e-4)
    close(layer(t(x[0])), want[0], 1e-4)
    # A convolution is linear: <g, conv(dx)> = <grad_x, dx>, and likewise in the weight: two products check each.
    g = rand(*want.shape)
    y.backward(t(g))
    dx, dw = rand(*shape), rand(*w.shape)
    arguments = (layer.stride, layer.padding, layer.dilation, layer.groups)
    scale = np.sqrt(want.size)
    assert (g * np_conv(dx, w, None, *arguments)).sum() == pytest.approx((xt.grad.numpy() * dx).sum(), abs=1e-4 * scale)
    assert (g * np_conv(x, dw, None, *arguments)).sum() == pytest.approx((layer.weight.grad.numpy() * dw).sum(),
                                                                        abs=1e-4 * scale * 4)
    if b is not None:
        close(layer.bias.grad, g.sum((0, *range(2, 2 + n))), 1e-4)


@pytest.mark.parametrize("kernel", [(3, 3), (4, 5)])
def test_conv_same_and_valid(kernel):
    x = rand(1, 2, 6, 7)
    layer = nn.Conv2d(2, 3, kernel, padding="same", dilation=(1, 2))
    total = [d * (k - 1) for k, d in zip(kernel, layer.dilation)]
    padding = [(n // 2, n - n // 2) for n in total]
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    close(layer(t(x)), np_conv(x, w, b, (1, 1), padding, (1, 2), 1), 1e-4)
    assert layer(t(x)).shape == (1, 3, 6, 7)
    close(F.conv2d(t(x), layer.weight, padding="valid"), np_conv(x, w, None, (1, 1), (0, 0), (1, 1), 1), 1e-4)
    with pytest.raises(ValueError, match="padding 'same' needs stride 1"):
        nn.Conv2d(1, 1, 3, stride=2, padding="same")


def test_conv_errors():
    with pytest.raises(ValueError, match="groups = 2 must divide in_channels = 3"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="kernel_size to be an integer or 2 of them, each at least 1"):
        nn.Conv2d(3, 4, (3, 3, 3))
    with pytest.raises(ValueError, match=r"\[conv2d\] expected 4 dimensions \(or 3, unbatched\)"):
        nn.Conv2d(3, 4, 3)(t(rand(3, 3)))
    with pytest.raises(ValueError, match=r"\[conv\] expected"):
        nn.Conv2d(3, 4, 3)(t(rand(1, 2, 5, 5)))


@pytest.mark.parametrize("cls, shape, options", [
    (nn.ConvTranspose1d, (2, 3, 5), dict(out_channels=4, kernel_size=3, stride=2, padding=1, output_padding=1)),
    (nn.ConvTranspose2d, (2, 4, 3, 5), dict(out_channels=6, kernel_size=(3, 2), stride=(2, 3), groups=2)),
    (nn.ConvTranspose2d, (1, 2, 4, 4), dict(out_channels=3, kernel_size=3, padding=1, dilation=2, bias=False)),
    (nn.ConvTranspose3d, (1, 2, 3, 3, 2), dict(out_channels=2, kernel_size=2, stride=2)),
])
def test_conv_transpose(cls, shape, options):
    layer, x = cls(shape[1], **options), rand(*shape)
    w, b = layer.weight.detach().numpy(), None if layer.bias is None else layer.bias.detach().numpy()
    size = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, s, p, d, k, o in zip(
        shape[2:], layer.stride, layer.padding, layer.dilation, layer.kernel_size, layer.output_padding)]
    # The transpose of np_conv with this weight, column by column.
    want = np.zeros((shape[0], options["out_channels"], *size), np.float32)
    for i in itertools.product(*map(range, shape[2:])):
        for k in itertools.product(*map(range, layer.kernel_size)):
            at = [a * s + c * d - p for a, s, c, d, p in zip(i, layer.stride, k, layer.dilation, layer.padding)]
            if all(0 <= a < n for a, n in zip(at, size)):
                for g in range(layer.groups):
                    ci, co = shape[1] // layer.groups, want.shape[1] // layer.groups
                    wk = w[(slice(g * ci, (g + 1) * ci), slice(None), *k)]
                    want[(slice(None), slice(g * co, (g + 1) * co), *at)] += (
                        x[(slice(None), slice(g * ci, (g + 1) * ci), *i)] @ wk
                    )
    if b is not None:
        want += b.reshape(-1, *[1] * len(size))
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, want, 1e-4)
    y.sum().backward()
    assert xt.grad.shape == x.shape and layer.weight.grad.shape == w.shape


POOLS = [dict(kernel=2, stride=None, padding=0, ceil=False), dict(kernel=3, stride=2, padding=1, ceil=False),
         dict(kernel=3, stride=2, padding=0, ceil=True), dict(kernel=2, stride=3, padding=1, ceil=True),
         dict(kernel=3, stride=1, padding=1, ceil=False)]


def np_pool(x, kernel, stride, padding, ceil, how, count_include_pad=True):
    d = x.ndim - 2
    stride = kernel if stride is None else stride
    out = []
    for n in x.shape[2:]:
        o = (math.ceil if ceil else math.floor)((n + 2 * padding - kernel) / stride) + 1
        out.append(o - 1 if ceil and (o - 1) * stride >= n + padding else o)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    for at in itertools.product(*map(range, out)):
        begin = [a * stride - padding for a in at]
        cut = tuple(slice(max(b, 0), min(b + kernel, n)) for b, n in zip(begin, x.shape[2:]))
        window = x[(slice(None), slice(None), *cut)]
        axes = tuple(range(2, 2 + d))
        if how == "max":
            value = window.max(axes)
        else:
            padded = math.prod(min(b + kernel, n + padding) - b for b, n in zip(begin, x.shape[2:]))
            value = window.sum(axes) / (padded if count_include_pad else math.prod(window.shape[2:]))
        y[(slice(None), slice(None), *at)] = value
    return y


@pytest.mark.parametrize("options", POOLS, ids=range(len(POOLS)))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools(rank, options):
    x = rand(2, 3, *(7, 6, 5)[:rank])
    k, s, p, c = options.values()
    layer = [nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d][rank - 1](k, s, p, ceil_mode=c)
    close(layer(t(x)), np_pool(x, **options, how="max"))
    close(layer(t(x[0])), np_pool(x, **options, how="max")[0])
    for include in (True, False):
        layer = [nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d][rank - 1](k, s, p, ceil_mode=c, count_include_pad=include)
        close(layer(t(x)), np_pool(x, **options, how="avg", count_include_pad=include))


def test_pool_gradients():
    x = t(np.array([[[1, 3, 2, 2]]], np.float32), grad=True)
    F.max_pool1d(x, 2, 1).backward(t(np.array([[[1, 10, 100]]], np.float32)))
    assert x.grad.tolist() == [[[0, 11, 100, 0]]]
    x.grad = None
    F.avg_pool1d(x, 2).backward(t(np.array([[[1, 3]]], np.float32)))
    assert x.grad.tolist() == [[[0.5, 0.5, 1.5, 1.5]]]
    with pytest.raises(ValueError, match="at most half the kernel"):
        F.max_pool2d(t(rand(1, 1, 4, 4)), 2, padding=2)


@pytest.mark.parametrize("shape, out", [((2, 3, 6), 2), ((2, 3, 7), 3), ((2, 3, 5), 8), ((2, 3, 6, 7), (1, 1)),
                                        ((2, 3, 6, 7), (3, None)), ((2, 3, 6, 7), (4, 5)), ((1, 2, 3, 4, 5), 2)])
def test_adaptive_avg_pool(shape, out):
    rank = len(shape) - 2
    x = rand(*shape)
    sizes = [n if o is None else o for n, o in zip(shape[2:], out if isinstance(out, tuple) else (out,) * rank)]
    want = np.zeros((*shape[:2], *sizes), np.float32)
    for at in itertools.product(*map(range, sizes)):
        cut = tuple(slice(i * n // o, -(-(i + 1) * n // o)) for i, n, o in zip(at, shape[2:], sizes))
        want[(slice(None), slice(None), *at)] = x[(slice(None), slice(None), *cut)].mean(tuple(range(2, 2 + rank)))
    layer = [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d][rank - 1](out)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, want)
    y.sum().backward()
    assert xt.grad.numpy().sum() == pytest.approx(want.size, rel=1e-5)


def test_paddings_that_differ_at_both_ends():
    x, w = rand(2, 3, 6, 5), rand(4, 3, 3, 2)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 0), (1, 3)))
    close(F.conv2d(t(x), t(w), padding=(2, 1, 0, 3)), F.conv2d(t(padded), t(w)).numpy(), 1e-4)
    close(F.conv1d(t(x[:, :, 0]), t(w[:, :, 0]), padding=(1, 0)), F.conv1d(t(padded[:, :, 2, :6]), t(w[:, :, 0])).numpy(), 1e-4)


def test_conv_transpose_cuts_begins_and_ends_apart():
    """Padding (begins, ends) is the whole result without so many rows and columns."""
    x, w = t(rand(2, 3, 4, 5)), t(rand(3, 2, 3, 3))
    whole = F.conv_transpose2d(x, w, stride=2)
    cut = F.conv_transpose2d(x, w, stride=2, padding=(1, 0, 2, 3))
    close(cut, whole[:, :, 1:-2, :-3].numpy(), 1e-5)
    line = F.conv_transpose1d(x[:, :, 0], w[:, :, 0], padding=[0, 2])
    close(line, F.conv_transpose1d(x[:, :, 0], w[:, :, 0])[:, :, :-2].numpy(), 1e-5)
