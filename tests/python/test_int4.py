# SPDX-License-Identifier: Apache-2.0
"""4-bit integers against NumPy's int8: casts, bytes, views, files, DLPack; nothing else works on them, with a way out."""
from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import tengen as tg

KINDS = {"int4": (-8, 7, np.int8), "uint4": (0, 15, np.uint8)}
ALL = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool", "complex64",
       "complex128", "float8_e4m3fn", "float8_e5m2"]


def packed(values: np.ndarray) -> bytes:
    """Two to a byte, the first below."""
    v = [int(x) & 15 for x in values.ravel()] + [0] * (values.size % 2)
    return bytes(a | b << 4 for a, b in zip(v[::2], v[1::2]))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (2,), (7,), (3, 5), (4, 6), (0, 3), (2, 1, 3)])
def test_bytes_and_values(name, shape):
    low, high, carrier = KINDS[name]
    v = np.random.default_rng(0).integers(low, high + 1, shape).astype(carrier)
    x = tg.tensor(v).to(name)
    assert x.dtype is getattr(tg, name) and x.shape == shape and x.nbytes == (v.size + 1) // 2 and x._to_bytes() == packed(v)
    assert x.tolist() == v.tolist() and x.numpy().dtype == carrier and np.array_equal(x.numpy(), v) and np.array_equal(np.asarray(x), v)
    assert tg.tensor(v.tolist(), dtype=name).tolist() == v.tolist()
    assert x.clone()._to_bytes() == x._to_bytes() and copy.deepcopy(x).tolist() == v.tolist() and pickle.loads(pickle.dumps(x)).tolist() == v.tolist()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("other", ALL)
def test_casts(name, other):
    low, high, carrier = KINDS[name]
    whole = np.arange(low, high + 1)
    there = tg.tensor(whole.astype(carrier)).to(name).to(other)
    assert there.dtype is getattr(tg, other)
    want = tg.tensor(whole.astype(carrier)).to(other)
    assert there.to(tg.complex128).tolist() == want.to(tg.complex128).tolist()
    if other == "bool":
        assert tg.tensor([True, False, True]).to(name).tolist() == [1, 0, 1]
    elif "int" in other:
        v = np.arange(-200, 200).astype(other)
        bits = v.astype(np.int64) & 15
        assert tg.tensor(v).to(name).tolist() == (bits - 16 * ((bits > 7) & (low < 0))).tolist()
    else:
        v = [-1e4, -9.0, -8.0, -7.5, -1.5, -0.0, 0.75, 6.5, 7.5, 8.0, 15.0, 16.0, 448.0]
        x = tg.tensor(v, dtype=tg.float64).to(other)
        seen = x.to(tg.float64).numpy()
        assert x.to(name).tolist() == np.trunc(np.nan_to_num(np.clip(seen, low, high))).astype(int).tolist()
        if "float8_e4" not in other and "complex" not in other:
            assert tg.tensor([float("nan"), float("inf"), -float("inf")]).to(other).to(name).tolist() == [0, high, low]


def test_making_and_printing():
    assert tg.zeros(3, dtype=tg.int4).tolist() == [0] * 3 and tg.full((5,), -3, dtype=tg.int4).tolist() == [-3] * 5
    assert tg.full((5000,), 9, dtype=tg.uint4).sum is not None and tg.full((5001,), 9, dtype=tg.uint4).numpy().sum() == 45009
    assert tg.ones(2, 3, dtype=tg.uint4).tolist() == [[1] * 3] * 2 and tg.zeros_like(tg.ones(3, dtype=tg.int4)).dtype is tg.int4
    assert repr(tg.tensor([1, -2, 7], dtype=tg.int4)) == "tensor([ 1, -2,  7], dtype=tengen.int4)"
    x = tg.tensor([1, -2, 7], dtype=tg.int4)
    x.copy_(tg.tensor([4.0, -9.0, 2.0]))
    assert x.tolist() == [4, -8, 2] and x[2].item() == 2
    with pytest.raises(OverflowError, match=r"int4 holds \(-8 to 7\), got 8"):
        tg.tensor([8], dtype=tg.int4)
    with pytest.raises(OverflowError, match=r"uint4 holds \(0 to 15\), got -1"):
        tg.full((2,), -1, dtype=tg.uint4)
    i, u = tg.iinfo(tg.int4), tg.iinfo(tg.uint4)
    assert (i.bits, i.min, i.max, u.min, u.max) == (4, -8, 7, 0, 15)
    assert tg.int4.is_signed and not tg.uint4.is_signed and not tg.int4.is_floating_point and tg.int4.itemsize == 1


def test_views_begin_at_bytes():
    v = np.arange(-8, 4).reshape(2, 3, 2)
    x = tg.tensor(v.tolist(), dtype=tg.int4)
    for y, w in ((x.reshape(4, 3), v.reshape(4, 3)), (x.view(-1), v.ravel()), (x[1], v[1]), (x[0, 1:], v[0, 1:]), (x.unsqueeze(0), v[None]),
                 (x.flatten(1), v.reshape(2, 6))):
        assert y.tolist() == w.tolist() and y.data_ptr() >= x.data_ptr() and y.numpy().tolist() == w.tolist()
    assert x[0, 1:].storage_offset() == 2 and x[1].clone().tolist() == v[1].tolist()
    bad = [lambda: x.mT, lambda: x[:, 1], lambda: x[..., 0], lambda: x[::2, :, 1], lambda: tg.tensor([1, 2, 3], dtype=tg.int4)[1:],
           lambda: x.expand(3, 2, 3, 2), lambda: x.permute(2, 0, 1)]
    for f in bad:
        with pytest.raises(TypeError, match="cast to int8 first"):
            f()


def test_bitcast_is_a_view_of_the_bytes():
    b = tg.tensor([[0x21, 0xF3]], dtype=tg.uint8)
    x = tg.bitcast(b, tg.int4)
    assert x.tolist() == [[1, 2, 3, -1]] and tg.bitcast(x, tg.uint4).tolist() == [[1, 2, 3, 15]]
    assert tg.bitcast(x, tg.uint8).tolist() == b.tolist() and x.data_ptr() == b.data_ptr()
    b.fill_(0x55)
    assert x.tolist() == [[5] * 4]
    with pytest.raises(ValueError, match="last axis of an even size"):
        tg.bitcast(tg.zeros(3, dtype=tg.int4), tg.uint8)
    with pytest.raises(ValueError, match="a dtype of one byte"):
        tg.bitcast(tg.zeros(4, dtype=tg.int4), tg.int16)


@pytest.mark.parametrize("f", [
    lambda x: x + x, lambda x: x * 2, lambda x: -x, lambda x: x == x, lambda x: x @ x,
    lambda x: x.abs(), lambda x: tg.where(x.bool(), x, x), lambda x: x.sort(), lambda x: x[[0, 1]], lambda x: tg.isreal(x),
    lambda x: tg.gather(x, 0, tg.tensor([0])),
])
def test_nothing_computes(f):
    with pytest.raises(TypeError, match=r"cast|4-bit|int4"):
        f(tg.tensor([1, 2], dtype=tg.int4))


def test_promotion_is_refused():
    for other in (tg.int8, tg.float32, tg.uint4, tg.complex64):
        with pytest.raises(TypeError, match="cast the 4-bit integer first"):
            tg.promote_types(tg.int4, other)


def test_files(tmp_path):
    w = tg.tensor(np.arange(-8, 7).reshape(3, 5)).to(tg.int4)
    tree = {"w": w, "u": w.to(tg.uint4), "f": tg.ones(2), "n": 3}
    tg.save(tree, tmp_path / "a")
    back = tg.load(tmp_path / "a")
    assert back["w"].dtype is tg.int4 and back["w"].tolist() == w.tolist() and back["u"].tolist() == tree["u"].tolist() and back["n"] == 3
    tg.save({"w": w}, tmp_path / "flat", metadata={"by": "me"})
    assert tg.load(tmp_path / "flat")["w"].tolist() == w.tolist()
    raw = (tmp_path / "flat").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + n])
    assert header["w"]["dtype"] == "U8" and header["w"]["shape"] == [8] and raw[8 + n:] == packed(w.numpy())
    from tengen._serialization import load_metadata

    assert load_metadata(tmp_path / "flat") == {"by": "me"}
    for claim in ('[]', '{"w": ["int4", [3, 6]]}', '{"w": ["int8", [8]]}', '{"x": ["int4", [15]]}', '{"w": ["int4", [-15]]}', '{"w": 1}'):
        header["__metadata__"]["tengen.packed"] = claim
        text = json.dumps(header).encode()
        (tmp_path / "bad").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + n:])
        with pytest.raises(ValueError, match="packed|does not fit"):
            tg.load(tmp_path / "bad")


def test_modules_keep_them(tmp_path):
    class Weights(tg.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("w", tg.tensor([[1, -2], [3, 4]], dtype=tg.int4))
            self.scale = tg.nn.Parameter(tg.ones(2))

        def forward(self, x):
            return x @ (self.w.to(x.dtype) * self.scale[:, None]).mT

    m, other = Weights(), Weights()
    with tg.no_grad():
        m.w.copy_(tg.tensor([[5, 6], [7, -8]]))
    tg.save(m.state_dict(), tmp_path / "m")
    other.load_state_dict(tg.load(tmp_path / "m"))
    assert other.w.dtype is tg.int4 and other.w.tolist() == [[5, 6], [7, -8]]
    other(tg.ones(1, 2)).sum().backward()
    assert other.scale.grad.tolist() == [11.0, -1.0] and other.half().w.dtype is tg.int4


def test_dlpack():
    x = tg.tensor([1, -2, 3], dtype=tg.int4)
    y = tg.from_dlpack(x)
    assert y.dtype is tg.int4 and y.tolist() == [1, -2, 3] and y.data_ptr() == x.data_ptr()
    with pytest.raises((BufferError, RuntimeError, TypeError)):
        np.from_dlpack(x)  # NumPy has no such numbers
    with pytest.raises(BufferError, match="share a byte"):
        memoryview(x)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(x, copy=False) if np.__version__ >= "2" else x.__array__(copy=False)


@pytest.mark.parametrize("device", [d.name for d in tg.devices() if d.usable])
def test_devices(device):
    v = np.arange(-8, 7)
    x = tg.tensor(v, device=device).to(tg.int4)
    assert x.tolist() == v.tolist() and x.to("cpu:0").to(device).clone().tolist() == v.tolist() and x.float().tolist() == v.tolist()
    assert tg.zeros(7, dtype=tg.uint4, device=device).tolist() == [0] * 7
