# SPDX-License-Identifier: Apache-2.0
"""What the tests of tengen.nn share."""
import numpy as np

import tengen as tg

RNG = np.random.RandomState(0)


def rand(*shape, dtype=np.float32):
    return RNG.randn(*shape).astype(dtype)


def t(array, grad=False):
    out = tg.tensor(np.asarray(array))
    return out.requires_grad_(True) if grad else out


def close(got, want, tol=1e-5):
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=tol, atol=tol)


def np_softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
