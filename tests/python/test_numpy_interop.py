# SPDX-License-Identifier: Apache-2.0
"""Memory shared with NumPy and through DLPack and the buffer protocol; bfloat16; what is copied and what refused."""
from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest

import tengen as tg


def test_numpy_shares_both_ways():
    t = tg.zeros(2, 3)
    a = t.numpy()
    a[0, 1] = 5
    assert t[0, 1].item() == 5
    t[1, 2] = 7
    assert a[1, 2] == 7 and a.flags.writeable
    v = t.T[1:]
    np.testing.assert_array_equal(v.numpy(), a.T[1:])
    assert np.shares_memory(v.numpy(), a)
    assert tg.tensor(3.0).numpy().shape == () and tg.zeros(0, 2).numpy().shape == (0, 2)


def test_the_array_keeps_the_memory_alive():
    a = tg.full((1000, 1000), 3.0).numpy()
    gc.collect()
    tg.full((1000, 1000), 4.0)
    assert a.min() == a.max() == 3.0
    t = tg.ones(3)
    b = t.numpy()
    t.data = tg.zeros(3)  # the old storage is the array's alone now
    del t
    gc.collect()
    assert b.tolist() == [1.0, 1.0, 1.0]


def test_from_numpy_shares():
    a = np.arange(6, dtype=np.float64).reshape(2, 3)
    t = tg.from_numpy(a)
    assert t.data_ptr() == a.ctypes.data and t.dtype is tg.float64
    a[0, 0] = 9
    assert t[0, 0].item() == 9
    t += 1
    assert a[1, 2] == 6
    s = tg.from_numpy(a[:, ::2])
    assert s.stride() == (3, 2) and s.tolist() == a[:, ::2].tolist()
    assert (s + s).tolist() == (a[:, ::2] * 2).tolist()


def test_the_tensor_keeps_the_array_alive():
    class Array(np.ndarray):
        pass

    a = Array((4,), np.float32)  # owns its memory
    a[:] = 1
    ref = weakref.ref(a)
    t = tg.from_numpy(a)
    del a
    gc.collect()
    assert ref() is not None and t.tolist() == [1.0] * 4
    u = t[1:]
    del t
    gc.collect()
    assert ref() is not None
    del u
    gc.collect()
    assert ref() is None


def test_what_cannot_be_shared():
    with pytest.raises(ValueError, match="negative strides.*copy"):
        tg.from_numpy(np.arange(3)[::-1])
    a = np.zeros(3)
    a.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        tg.from_numpy(a)
    for bad in (np.array(["a"]), np.array([object()]), np.zeros(1, "M8[s]"), np.zeros(1, np.clongdouble)):
        with pytest.raises(TypeError, match="bool, integers, floats or complex numbers"):
            tg.from_numpy(bad)
    with pytest.raises(TypeError, match="NumPy array"):
        tg.from_numpy([1, 2])


def test_foreign_byte_order_is_turned():
    a = np.arange(3, dtype=">f4")
    assert tg.tensor(a).tolist() == [0.0, 1.0, 2.0]


def test_asarray():
    a = np.zeros(2, np.float32)
    t = tg.asarray(a)
    assert t.data_ptr() == a.ctypes.data and tg.asarray(t) is t
    assert tg.asarray(a, copy=True).data_ptr() != a.ctypes.data
    assert tg.asarray([1, 2.5]).tolist() == [1.0, 2.5]
    assert tg.asarray(a, dtype=tg.float64).dtype is tg.float64
    assert tg.asarray(np.arange(3)[::-1]).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="without a copy"):
        tg.asarray([1, 2], copy=False)


def test_array_protocol():
    t = tg.tensor([[1.0, 4.0]])
    np.testing.assert_array_equal(np.asarray(t), [[1, 4]])
    assert np.asarray(t, dtype=np.int32).dtype == np.int32
    assert np.shares_memory(np.asarray(t), t.numpy()) and not np.shares_memory(np.array(t), t.numpy())
    np.testing.assert_array_equal(np.sqrt(t), [[1, 2]])
    assert np.concatenate([t, t]).shape == (2, 2)
    view = memoryview(t)
    assert view.format == "f" and view.shape == (1, 2) and not view.readonly


def test_gradients_are_not_dropped_silently():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"\.detach\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(x)
    with pytest.raises(BufferError, match="detach"):
        memoryview(x)
    with pytest.raises(BufferError, match="detach"):
        x.__dlpack__()
    assert x.numpy(force=True).tolist() == [1.0, 1.0]


def test_bfloat16():
    x = tg.tensor([1.0, 2.5]).bfloat16()
    try:
        import ml_dtypes
    except ImportError:
        with pytest.raises(TypeError, match="ml_dtypes.*float"):
            x.numpy()
    else:
        assert x.numpy().dtype == ml_dtypes.bfloat16
        assert x.numpy().astype(np.float32).tolist() == [1.0, 2.5]
        a = np.array([3.0, 4.0], ml_dtypes.bfloat16)
        t = tg.from_numpy(a)
        assert t.dtype is tg.bfloat16 and t.float().tolist() == [3.0, 4.0] and t.data_ptr() == a.ctypes.data
        assert tg.dtype(ml_dtypes.bfloat16) is tg.bfloat16
    np.testing.assert_array_equal(np.asarray(memoryview(x)), [0x3F80, 0x4020])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int8", "uint8", "bool"])
def test_dlpack(dtype):
    a = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    t = tg.from_dlpack(a)
    assert t.dtype.name == dtype and t.data_ptr() == a.ctypes.data and t.tolist() == a.tolist()
    b = np.from_dlpack(t)
    assert np.shares_memory(a, b)
    v = tg.from_dlpack(tg.tensor(a).T)
    assert v.shape == (3, 2) and v.tolist() == a.T.tolist()


def test_dlpack_life_and_errors():
    a = np.ones(3)
    count = sys.getrefcount(a)
    t = tg.from_dlpack(a)
    del t
    gc.collect()
    assert sys.getrefcount(a) == count
    t = tg.ones(3)
    assert t.__dlpack_device__() == (1, 0)
    b = np.from_dlpack(t)
    del t
    gc.collect()
    assert b.tolist() == [1.0] * 3
    capsule = tg.ones(2).__dlpack__()
    assert tg.from_dlpack(capsule).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="taken"):
        tg.from_dlpack(capsule)
    with pytest.raises(BufferError, match="strides"):
        tg.from_dlpack(np.arange(3)[::-1])
    del capsule


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_arrays_are_shared(dtype):
    a = np.array([1 + 2j, 3 - 4j], dtype)
    for t in (tg.from_numpy(a), tg.from_dlpack(a), tg.asarray(a)):
        assert t.dtype.numpy == a.dtype and t.data_ptr() == a.ctypes.data and t.tolist() == [1 + 2j, 3 - 4j]
        assert np.from_dlpack(t).ctypes.data == t.numpy().ctypes.data == a.ctypes.data


def test_tensor_to_bytes_follows_the_order_of_elements():
    x = tg.arange(6).reshape(2, 3).T
    assert x._to_bytes() == np.arange(6).reshape(2, 3).T.tobytes()


# ---- arrays that share a buffer ----------------------------------------------------------------------------------------


def test_two_views_of_one_buffer_overlap():
    """x[1:] += x[:-1] means the old x on the right, whichever way the two came about (NumPy is the oracle)."""
    for n in (5, 5000):
        for update in (lambda y, x: y.add_(x), lambda y, x: y.copy_(x), lambda y, x: y.__setitem__(slice(None), x),
                       lambda y, x: tg.add(x, 1.0, out=y), lambda y, x: tg.cumsum(x, 0, out=y) if hasattr(tg, "cumsum") else None):
            for front in (True, False):
                a = np.arange(float(n), dtype="float32")
                parts = (a[1:], a[:-1]) if front else (a[:-1], a[1:])
                expected = tg.tensor(parts[0])  # the same on memory of their own
                update(expected, tg.tensor(parts[1]))
                update(*map(tg.from_numpy, parts))
                np.testing.assert_array_equal(parts[0], expected.numpy())


def test_one_buffer_under_two_shapes():
    a = np.arange(16.0, dtype="float32").reshape(4, 4)
    expected = a + a.T
    tg.from_numpy(a).add_(tg.from_numpy(a.T))
    np.testing.assert_array_equal(a, expected)
    b = np.arange(4, dtype="int32")
    x, y = tg.from_numpy(b), tg.from_numpy(b)  # the very same place: no copy is needed
    x.add_(y)
    assert b.tolist() == [0, 2, 4, 6]


def test_from_numpy_refuses_what_it_cannot_share():
    foreign = np.arange(3, dtype=">f4" if np.little_endian else "<f4")
    with pytest.raises(ValueError, match=r"from_numpy\(\) shares memory.*byte order.*f4.*tg\.tensor\(array\)"):
        tg.from_numpy(foreign)
    assert tg.tensor(foreign).tolist() == [0.0, 1.0, 2.0] and tg.asarray(foreign).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError):
        tg.asarray(foreign, copy=False)
    unaligned = np.zeros(9, np.uint8)[1:].view("<f4") if np.little_endian else None
    if unaligned is not None:
        with pytest.raises(ValueError, match="aligned"):
            tg.from_numpy(unaligned)
