# SPDX-License-Identifier: Apache-2.0
"""tg.stft and tg.istft against NumPy's transforms of windows cut by hand and scipy.signal; gradients against finite differences."""
from __future__ import annotations

import doctest
import warnings

import numpy as np
import pytest
from scipy import signal

import tengen as tg
from tengen import _spectral


def by_hand(x, n, hop, window, center=True, mode="reflect", ortho=False, onesided=True):
    w = np.zeros(n)
    left = (n - len(window)) // 2
    w = w.astype(np.result_type(window, float))
    w[left:left + len(window)] = window
    if center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n // 2, n // 2)], mode=mode)
    frames = np.stack([x[..., i:i + n] * w for i in range(0, x.shape[-1] - n + 1, hop)], -2)
    f = np.fft.rfft if onesided else np.fft.fft
    return np.swapaxes(f(frames, norm="ortho" if ortho else None), -1, -2)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 50))


@pytest.mark.parametrize(("n", "hop", "length"), [(8, None, None), (8, 3, 5), (16, 16, 16), (7, 2, 4), (9, 4, 9), (1, 1, 1)])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("ortho", [True, False])
def test_values(n, hop, length, center, ortho):
    window = RNG.uniform(0.5, 1, length or n)
    for shape in (X, X[0, 0]):
        got = tg.stft(tg.tensor(shape), n, hop, length, tg.tensor(window), center, normalized=ortho)
        want = by_hand(shape, n, hop or max(n // 4, 1), window, center, ortho=ortho)
        assert got.dtype is tg.complex128
        np.testing.assert_allclose(got.numpy(), want, atol=1e-12)
    two = tg.stft(tg.tensor(X), n, hop, length, tg.tensor(window), center, normalized=ortho, onesided=False)
    np.testing.assert_allclose(two.numpy(), by_hand(X, n, hop or max(n // 4, 1), window, center, ortho=ortho, onesided=False), atol=1e-12)


def test_n_fft_below_four_needs_a_hop():
    with pytest.raises(ValueError, match="hop_length of at least 1, got 0"):
        tg.stft(tg.ones(8), 3)


def test_other_inputs():
    z = X + 1j * RNG.normal(size=X.shape)
    np.testing.assert_allclose(tg.stft(tg.tensor(z), 8).numpy(), by_hand(z, 8, 2, np.ones(8), onesided=False), atol=1e-12)
    window = np.exp(1j * np.arange(8))
    np.testing.assert_allclose(tg.stft(tg.tensor(X), 8, window=tg.tensor(window)).numpy(), by_hand(X, 8, 2, window, onesided=False), atol=1e-12)
    for mode, theirs in (("constant", "constant"), ("replicate", "edge"), ("circular", "wrap")):
        np.testing.assert_allclose(tg.stft(tg.tensor(X), 8, pad_mode=mode).numpy(), by_hand(X, 8, 2, np.ones(8), mode=theirs), atol=1e-12)
    pairs = tg.tensor(X).stft(8, return_complex=False)
    assert pairs.shape == (2, 3, 5, 26, 2) and tg.array_equal(tg.view_as_complex(pairs), tg.stft(tg.tensor(X), 8))
    assert tg.stft(tg.tensor(X, dtype=tg.float32), 8).dtype is tg.complex64 and tg.stft(tg.tensor(X, dtype=tg.bfloat16), 8).dtype is tg.complex64


def test_against_scipy():
    window = signal.get_window("hann", 16)
    _, _, theirs = signal.stft(X, nperseg=16, noverlap=12, window=window, boundary="even", padded=False)
    ours = tg.stft(tg.tensor(X), 16, 4, window=tg.tensor(window))
    np.testing.assert_allclose(ours.numpy() / window.sum(), theirs, atol=1e-12)
    _, back = signal.istft(theirs, nperseg=16, noverlap=12, window=window)
    np.testing.assert_allclose(tg.istft(ours, 16, 4, window=tg.tensor(window)).numpy(), back[..., :48], atol=1e-12)


@pytest.mark.parametrize(("n", "hop", "length"), [(8, None, None), (8, 3, 6), (16, 7, 16), (7, 2, 4)])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("ortho", [True, False])
def test_back_again(n, hop, length, center, ortho):
    window = tg.tensor(RNG.uniform(0.5, 1, length or n))
    for x in (tg.tensor(X), tg.tensor(X + 1j * X[::-1])):
        y = tg.stft(x, n, hop, length, window, center, normalized=ortho)
        options = {"center": center, "normalized": ortho, "return_complex": x.dtype.is_complex}
        if not center and (length or n) < n:
            with pytest.raises(ValueError, match="overlap without gaps"):
                tg.istft(y, n, hop, length, window, **options)
            continue
        back = tg.istft(y, n, hop, length, window, **options)
        assert back.shape[-1] <= 50
        np.testing.assert_allclose(back.numpy(), x.numpy()[..., :back.shape[-1]], atol=1e-12)
        cut = tg.istft(y, n, hop, length, window, length=20, **options)
        np.testing.assert_allclose(cut.numpy(), x.numpy()[..., :20], atol=1e-12)
        long = tg.istft(y, n, hop, length, window, length=70, **options)
        assert long.shape[-1] == 70 and (long.numpy()[..., 62:] == 0).all()


def test_the_nearest_signal():
    """What is no stft: the least squares solution, by the matrix of stft."""
    n, hop, size = 4, 2, 10
    window = RNG.uniform(0.5, 1, n)
    columns = [by_hand(e, n, hop, window, center=False, onesided=False).ravel() for e in np.eye(size)]
    y = RNG.normal(size=(n, 4)) + 1j * RNG.normal(size=(n, 4))
    want = np.linalg.lstsq(np.stack(columns, 1), y.ravel(), rcond=None)[0]
    got = tg.istft(tg.tensor(y), n, hop, window=tg.tensor(window), center=False, onesided=False, return_complex=True)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


def test_gradients_and_vmap():
    window = tg.tensor(RNG.uniform(0.5, 1, 4))
    x = tg.tensor(RNG.normal(size=(2, 12)), requires_grad=True)
    loss = lambda x, w: tg.view_as_real(tg.stft(x, 6, 2, 4, w)).pow(2).sum()  # noqa: E731
    assert tg.autograd.gradcheck(loss, (x, window.detach().requires_grad_()))
    y = tg.stft(x.detach(), 6, 2, 4, window)
    re, im = (v.contiguous().detach().requires_grad_() for v in (y.real, y.imag))
    assert tg.autograd.gradcheck(lambda a, b: tg.istft(tg.complex(a, b), 6, 2, 4, window), (re, im))
    before = tg.dispatch_stats()["batch_loops"]
    mapped = tg.vmap(lambda r: tg.stft(r, 6, 2, 4, window))(x.detach())
    assert tg.dispatch_stats()["batch_loops"] == before
    np.testing.assert_allclose(mapped.numpy(), y.numpy(), atol=1e-12)


@pytest.mark.parametrize(("f", "kind", "message"), [
    (lambda: tg.stft(tg.ones(8).int(), 4), TypeError, "floats or complex"), (lambda: tg.stft(tg.tensor(1.0), 4), ValueError, "along the last axis"),
    (lambda: tg.stft(tg.ones(8), 4, win_length=5), ValueError, "win_length from 1 to n_fft"), (lambda: tg.stft(tg.ones(3), 8), ValueError, "longer than n_fft // 2"),
    (lambda: tg.stft(tg.ones(3), 8, center=False), ValueError, "at least n_fft = 8, got 3"),
    (lambda: tg.stft(tg.ones(8), 4, window=tg.ones(3)), ValueError, r"window of shape \(4,\)"),
    (lambda: tg.stft(tg.ones(8) * 1j, 4, onesided=True), ValueError, "onesided=False"), (lambda: tg.stft(tg.ones(8), 0), ValueError, "n_fft of at least 1"),
    (lambda: tg.istft(tg.ones(3, 4), 4), ValueError, "expected complex numbers"), (lambda: tg.istft(tg.ones(5, 4) * 1j, 4), ValueError, "expected 3 frequencies"),
    (lambda: tg.istft(tg.ones(3, 4) * 1j, 4, 5), ValueError, "overlap without gaps"),
    (lambda: tg.istft(tg.ones(4, 4) * 1j, 4, onesided=True, return_complex=True), ValueError, "onesided=False with"),
])
def test_errors(f, kind, message):
    with warnings.catch_warnings(), pytest.raises(kind, match=message):
        f()


def test_examples():
    assert doctest.testmod(_spectral, extraglobs={"tg": tg}).failed == 0
