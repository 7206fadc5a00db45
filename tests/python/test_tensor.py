# SPDX-License-Identifier: Apache-2.0
"""Tensor: construction, operators, attributes, conversions, printing, copies."""
from __future__ import annotations

import copy
import gc
import inspect
import operator
import pickle
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest

import tengen as tg

FLOATS = ["float32", "float64"]


# ---- construction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, dtype, shape", [
    (1, "int64", ()), (1.5, "float32", ()), (True, "bool", ()), ([1, 2], "int64", (2,)), ([1, 2.5], "float32", (2,)),
    ([[True], [False]], "bool", (2, 1)), ([True, 2], "int64", (2,)), ([], "float32", (0,)), ([[], []], "float32", (2, 0)),
    ((1, 2, 3), "int64", (3,)), (range(4), "int64", (4,)), (np.float64(2.0), "float64", ()), (np.float32(2), "float32", ()),
    (np.zeros((2, 3)), "float64", (2, 3)), (np.zeros(3, np.uint8), "uint8", (3,)), (np.array(5, np.int16), "int16", ()),
])
def test_tensor_infers(data, dtype, shape):
    t = tg.tensor(data)
    assert t.dtype.name == dtype
    assert t.shape == shape
    np.testing.assert_array_equal(t.numpy(), np.array(data, dtype).reshape(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32",
                                   "uint16", "uint8", "bool"])
def test_every_dtype_goes_through_numpy(dtype):
    a = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    t = tg.tensor(a)
    assert t.dtype is getattr(tg, dtype)
    assert repr(t.dtype) == f"tengen.{dtype}"
    assert t.dtype.itemsize == a.itemsize == t.element_size()
    np.testing.assert_array_equal(t.numpy(), a)
    assert t.numpy().dtype == a.dtype
    assert t.tolist() == a.tolist()


def test_dtypes_have_one_object_each():
    assert tg.f32 is tg.float32 is tg.dtype("float32") is tg.dtype(np.float32) is tg.dtype(np.dtype("f4")) is tg.dtype(float)
    assert tg.i64 is tg.int64 is tg.dtype(int)
    assert pickle.loads(pickle.dumps(tg.bfloat16)) is tg.bfloat16
    assert copy.deepcopy(tg.float16) is tg.float16


def test_tensor_of_nested_tensors_and_arrays():
    t = tg.tensor([tg.tensor(1.0), 2.0, np.float32(3)])
    assert t.dtype is tg.float32 and t.tolist() == [1.0, 2.0, 3.0]
    t = tg.tensor([tg.tensor([1, 2]), [3, 4]])
    assert t.dtype is tg.int64 and t.tolist() == [[1, 2], [3, 4]]


def test_tensor_copies():
    a = np.zeros(3, np.float32)
    t = tg.tensor(a)
    a[0] = 5
    assert t[0].item() == 0
    u = tg.tensor(t)
    assert u.data_ptr() != t.data_ptr()


@pytest.mark.parametrize("data", [[[1, 2], [3]], [[1], 2], [1, [2]]])
def test_ragged_lists_are_refused(data):
    with pytest.raises(ValueError, match="nested lists of equal"):
        tg.tensor(data)


@pytest.mark.parametrize("data", ["text", ["a"], [None], object(), {1: 2}])
def test_what_is_no_number_is_refused(data):
    with pytest.raises(TypeError):
        tg.tensor(data)


def test_creation_functions():
    assert tg.zeros(2, 3).tolist() == tg.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert tg.ones([2], dtype=tg.int32).tolist() == [1, 1]
    assert tg.full((2,), 3).dtype is tg.int64 and tg.full((2,), 3.0).dtype is tg.float32 and tg.full((1,), True).dtype is tg.bool
    assert tg.full((100, 100), 2.5).sum().item() == 25000
    assert tg.empty(2, 0, 3).shape == (2, 0, 3)
    assert tg.arange(5).tolist() == [0, 1, 2, 3, 4] and tg.arange(5).dtype is tg.int64
    np.testing.assert_allclose(tg.arange(0, 1, 0.25).numpy(), [0, 0.25, 0.5, 0.75])
    assert tg.arange(5, 0, -2).tolist() == [5, 3, 1]
    np.testing.assert_allclose(tg.linspace(-1, 1, 5).numpy(), np.linspace(-1, 1, 5, dtype=np.float32))
    np.testing.assert_array_equal(tg.eye(3).numpy(), np.eye(3, dtype=np.float32))
    x = tg.zeros(2, 3, dtype=tg.float64)
    assert tg.ones_like(x).dtype is tg.float64 and tg.zeros_like(x, dtype=tg.int8).dtype is tg.int8
    assert tg.full_like(x, 7).tolist() == [[7.0] * 3] * 2
    assert tg.zeros(2, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="sizes of 0 or more"):
        tg.zeros(-1)


# ---- random -------------------------------------------------------------------------------------------------------------


def test_random_numbers_follow_the_seed():
    tg.manual_seed(3)
    a = tg.rand(1000).numpy().copy()
    b = tg.rand(1000).numpy().copy()
    tg.manual_seed(3)
    np.testing.assert_array_equal(tg.rand(1000).numpy(), a)
    assert tg.initial_seed() == 3
    assert not np.array_equal(a, b)
    assert a.min() >= 0 and a.max() < 1 and abs(a.mean() - 0.5) < 0.05
    n = tg.randn(10000).numpy()
    assert abs(n.mean()) < 0.05 and abs(n.std() - 1) < 0.05


def test_random_state_is_a_value():
    state = tg.get_rng_state()
    a = tg.randn(5).tolist()
    with tg.random.fork_rng():
        tg.randn(100)
    tg.random.set_rng_state(state)
    assert tg.randn(5).tolist() == a


def test_randint_and_randperm():
    x = tg.randint(2, 7, (1000,)).numpy()
    assert x.dtype == np.int64 and set(x.tolist()) == {2, 3, 4, 5, 6}
    assert tg.randint(3, (4, 5)).shape == (4, 5)
    assert sorted(tg.randperm(20).tolist()) == list(range(20))


# ---- operators ----------------------------------------------------------------------------------------------------------

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("f", BINARY + COMPARE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_operators_match_numpy(f, dtype, rng):
    a = rng.uniform(0.5, 3, (3, 4)).astype(dtype)
    b = rng.uniform(0.5, 3, (4,)).astype(dtype)
    x, y = tg.tensor(a), tg.tensor(b)
    for got, want in ((f(x, y), f(a, b)), (f(x, 2.0), f(a, np.asarray(2.0, dtype))), (f(2.0, x), f(np.asarray(2.0, dtype), a)), (f(x, 2), f(a, 2)), (f(2, x), f(2, a))):
        assert got.numpy().dtype == np.asarray(want).dtype
        np.testing.assert_allclose(got.numpy(), want, rtol=2e-6)


@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor,
                               operator.floordiv, operator.mod], ids=lambda f: f.__name__)
def test_integer_operators_match_numpy(f):
    a, b = np.array([7, -7, 12, 5]), np.array([2, 2, -5, 3])
    np.testing.assert_array_equal(f(tg.tensor(a), tg.tensor(b)).numpy(), f(a, b))


def test_shifts_and_invert():
    x = tg.tensor([1, 2, 3])
    assert (x << 2).tolist() == [4, 8, 12] and (x >> 1).tolist() == [0, 1, 1]
    assert (~x).tolist() == [-2, -3, -4] and (~tg.tensor([True, False])).tolist() == [False, True]


def test_unary_operators():
    x = tg.tensor([-1.5, 2.0])
    assert (-x).tolist() == [1.5, -2.0] and abs(x).tolist() == [1.5, 2.0] and (+x) is x
    q, r = divmod(tg.tensor([7, 8]), 3)
    assert q.tolist() == [2, 2] and r.tolist() == [1, 2]


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((3,), (3,)), ((2, 3), (3,))])
def test_matmul_matches_numpy(shapes, rng):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    np.testing.assert_allclose((tg.tensor(a) @ tg.tensor(b)).numpy(), a @ b, rtol=1e-5, atol=1e-6)


def test_python_numbers_are_weak():
    assert (tg.tensor([1.0], dtype=tg.float16) * 2.5).dtype is tg.float16
    assert (tg.tensor([1], dtype=tg.int8) + 1).dtype is tg.int8
    assert (tg.tensor([1], dtype=tg.int8) + 1.5).dtype is tg.float32
    assert (tg.tensor([True]) + 1).dtype is tg.int64


def test_numpy_operands_convert():
    x, a = tg.tensor([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    for y in (x + a, a + x):
        assert isinstance(y, tg.Tensor) and y.dtype is tg.float32 and y.tolist() == [4.0, 6.0]
    assert isinstance(np.float32(2) * x, tg.Tensor)
    assert (np.float64(2) * x).dtype is tg.float32


def test_unknown_operands_are_left_to_python():
    x = tg.tensor([1.0])
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "a"
    with pytest.raises(TypeError):
        x + [1.0]

    class Right:
        def __radd__(self, other):
            return "right"

    assert x + Right() == "right"


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv"])
def test_in_place_operators_keep_the_object(name):
    x = tg.tensor([2.0, 4.0])
    before, pointer = x, x.data_ptr()
    x = getattr(operator, name)(x, 2.0)
    assert x is before and x.data_ptr() == pointer
    assert x.tolist() == getattr(operator, name)(np.array([2.0, 4.0]), 2.0).tolist()


def test_in_place_methods():
    x = tg.tensor([1.0, -2.0])
    assert x.add_(1) is x and x.tolist() == [2.0, -1.0]
    assert x.mul_(tg.tensor([2.0, 3.0])).tolist() == [4.0, -3.0]
    assert x.clip_(0, 3).tolist() == [3.0, 0.0]
    assert x.fill_(2).tolist() == [2.0, 2.0] and x.zero_().tolist() == [0.0, 0.0]
    assert x.copy_(np.array([5, 6])).tolist() == [5.0, 6.0]
    assert x.neg_().tolist() == [-5.0, -6.0]
    version = x._version
    x += 1
    assert x._version > version


def test_numbers():
    assert float(tg.tensor([2.5])) == 2.5 and int(tg.tensor(3)) == 3 and bool(tg.tensor(1)) and not tg.tensor([0.0])
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert tg.tensor(2**63 - 1).item() == 2**63 - 1
    assert tg.tensor(np.array(2**64 - 1, np.uint64)).item() == 2**64 - 1
    for f in (bool, int, float):
        with pytest.raises(ValueError, match="one element"):
            f(tg.zeros(2))
    with pytest.raises(TypeError, match="0-d integer tensor"):
        operator.index(tg.tensor(1.0))


def test_sequence_protocol():
    x = tg.tensor([[1, 2], [3, 4]])
    assert len(x) == 2 and [r.tolist() for r in x] == [[1, 2], [3, 4]]
    a, b = x
    assert b.tolist() == [3, 4]
    assert 3 in x and 9 not in x
    with pytest.raises(TypeError, match="0-d"):
        len(tg.tensor(1))
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.tensor(1))


# ---- identity and life --------------------------------------------------------------------------------------------------


def test_hash_is_identity():
    x, y = tg.tensor([1.0]), tg.tensor([1.0])
    assert len({x, y, x}) == 2 and {x: 1}[x] == 1


def test_objects_die_at_once():
    x = tg.tensor([1.0])
    ref = weakref.ref(x)
    del x
    assert ref() is None


def test_grad_is_one_object():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    g = x.grad
    assert x.grad is g
    g.fill_(7)
    assert x.grad.tolist() == [7.0, 7.0]


def test_subclass_keeps_attributes_and_type():
    class Named(tg.Tensor):
        pass

    x = Named([1.0, 2.0])
    x.label = "a"
    assert isinstance(x, tg.Tensor) and type(x) is Named and x.label == "a"
    assert type(x + 1) is tg.Tensor
    y = copy.deepcopy(x)
    assert type(y) is Named and y.label == "a" and y.data_ptr() != x.data_ptr()
    z = pickle.loads(pickle.dumps(Named2([3.0])))
    assert type(z) is Named2 and z.tolist() == [3.0]
    x.self = x  # a cycle, which the collector must find
    ref = weakref.ref(x)
    del x
    gc.collect()
    assert ref() is None
    with pytest.raises(AttributeError):
        tg.zeros(1).label = "no __dict__ on a plain Tensor"


class Named2(tg.Tensor):
    pass


# ---- attributes ---------------------------------------------------------------------------------------------------------


def test_attributes():
    x = tg.zeros(2, 3, 4, dtype=tg.float64)
    assert x.shape == x.size() == (2, 3, 4) and x.size(-1) == 4 and x.size(dim=1) == 3
    assert x.ndim == x.dim() == 3 and x.numel() == 24 and x.nbytes == 192 and x.itemsize == 8
    assert x.stride() == (12, 4, 1) and x.is_contiguous() and x.storage_offset() == 0
    assert x.T.shape == (4, 3, 2) and x.mT.shape == (2, 4, 3) and not x.mT.is_contiguous()
    assert x.mT.contiguous().is_contiguous() and x.contiguous() is x
    assert x.is_leaf and x.grad is None and x.grad_fn is None
    assert x[1].storage_offset() == 12
    with pytest.raises(IndexError):
        x.size(3)


def test_shape_methods():
    a = np.arange(24).reshape(2, 3, 4)
    x = tg.tensor(a)
    for got, want in [
        (x.reshape(4, 6), a.reshape(4, 6)), (x.reshape((-1, 8)), a.reshape(-1, 8)), (x.reshape(-1), a.reshape(-1)),
        (x.view(6, 4), a.reshape(6, 4)), (x.permute(2, 0, 1), a.transpose(2, 0, 1)), (x.permute((1, 0, 2)), a.transpose(1, 0, 2)),
        (x.transpose(0, 2), a.transpose(2, 1, 0)), (x.transpose(dim0=1, dim1=2), a.transpose(0, 2, 1)),
        (x.flatten(), a.reshape(-1)), (x.flatten(1), a.reshape(2, 12)), (x.flatten(start_dim=0, end_dim=1), a.reshape(6, 4)),
        (x.unsqueeze(1), a[:, None]), (x.unsqueeze(dim=-1), a[..., None]), (x.unsqueeze(0).squeeze(0), a),
        (x.unsqueeze(0).unsqueeze(2).squeeze(), a), (x[:1].expand(5, 3, 4), np.broadcast_to(a[:1], (5, 3, 4))),
        (x.narrow(2, 1, 2), a[:, :, 1:3]), (x.select(1, 2), a[:, 2]), (x.swapaxes(0, 1), a.swapaxes(0, 1)),
    ]:
        np.testing.assert_array_equal(got.numpy(), want)
    assert [p.shape for p in x.split(2, dim=2)] == [(2, 3, 2)] * 2
    assert [p.shape for p in x.split((1, 2), 1)] == [(2, 1, 4), (2, 2, 4)]
    assert [p.shape for p in x.chunk(2, 1)] == [(2, 2, 4), (2, 1, 4)]
    assert len(x.unbind(1)) == 3
    assert x.view(24).data_ptr() == x.data_ptr()
    with pytest.raises(ValueError, match="needs no copy"):
        x.transpose(0, 2).view(24)


def test_to():
    x = tg.tensor([1.5, -2.5])
    assert x.to(tg.float64).dtype is tg.float64 and x.to("int32").tolist() == [1, -2] and x.to(np.float64).dtype is tg.float64
    assert x.to(dtype=tg.float16).dtype is tg.float16 and x.to(x.device) is x and x.to(tg.float32) is x
    assert x.to(tg.float32, copy=True) is not x
    assert x.to(tg.zeros(1, dtype=tg.int64)).dtype is tg.int64 and x.type_as(tg.zeros(1, dtype=tg.bool)).tolist() == [True, True]
    assert x.half().dtype is tg.float16 and x.double().dtype is tg.float64 and x.long().dtype is tg.int64
    assert x.bool().tolist() == [True, True] and x.int().dtype is tg.int32 and x.bfloat16().float().tolist() == [1.5, -2.5]
    assert x.cpu() is x


def test_channels_last():
    x = tg.randn(2, 3, 4, 5)
    y = x.to(memory_format=tg.channels_last)
    assert y.shape == x.shape and y.stride() == (60, 1, 15, 3) and y.is_contiguous(memory_format=tg.channels_last)
    np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_data_replaces_the_storage():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    d = x.data
    assert not d.requires_grad and d.data_ptr() == x.data_ptr()
    held = x
    x.data = tg.ones(2, 2, dtype=tg.float64)
    assert held is x and held.shape == (2, 2) and held.dtype is tg.float64 and held.requires_grad
    assert (held * 2).tolist() == [[2.0, 2.0], [2.0, 2.0]]


# ---- functions ----------------------------------------------------------------------------------------------------------


def test_arguments_bind_by_position_name_and_alias():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    want = [3.0, 7.0]
    for y in (tg.sum(x, 1), tg.sum(x, axis=1), tg.sum(x=x, axis=(1,)), tg.sum(input=x, dim=1), x.sum(1), x.sum(dim=-1), x.sum(axis=[1])):
        assert y.tolist() == want
    assert x.sum(1, True).shape == x.sum(dim=1, keepdim=True).shape == x.sum(axis=1, keepdims=True).shape == (2, 1)
    assert x.sum(axis=None).item() == x.sum().item() == 10
    assert tg.add(x, other=x).tolist() == (x + x).tolist()


def test_out_writes_into_a_tensor():
    x, y = tg.tensor([1.0, 2.0]), tg.zeros(2)
    assert tg.add(x, 1, out=y) is y and y.tolist() == [2.0, 3.0]
    with pytest.raises(TypeError, match="out"):
        tg.add(x, 1, out=[1])


def test_several_outputs_have_names():
    r = tg.topk(tg.tensor([3, 1, 2]), 2)
    assert r.values.tolist() == [3, 2] and r.indices.tolist() == [0, 2]
    values, indices = r
    assert values.tolist() == [3, 2] and len(r) == 2


def test_functions_describe_themselves():
    f = tg.sum
    assert f.__name__ == "sum" and f.__module__ == "tengen" and "Parameters\n----------" in f.__doc__
    for section in ("Returns", "Raises", "Examples"):
        assert f"\n{section}\n---" in f.__doc__
    s = inspect.signature(f)
    assert list(s.parameters) == ["x", "axis", "keepdims", "dtype", "out"] and s.parameters["keepdims"].default is False
    assert pickle.loads(pickle.dumps(tg.exp)) is tg.exp
    assert repr(tg.exp) == "<op tengen.exp>"
    for name, op in tg._core.ops.items():
        assert inspect.signature(op).parameters is not None, name
        assert op.__doc__.strip(), name


def test_functions_do_not_bind_as_methods():
    class Net:
        activation = tg.exp

    assert Net().activation(tg.tensor([0.0])).tolist() == [1.0]


# ---- printing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, text", [
    (lambda: tg.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: tg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: tg.tensor(3), "tensor(3)"),
    (lambda: tg.tensor([True, False]), "tensor([ True, False])"),
    (lambda: tg.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
    (lambda: tg.tensor([1e-8, 1.0]), "tensor([1.0000e-08, 1.0000e+00])"),
    (lambda: tg.tensor([1.0, float("nan"), float("inf")]), "tensor([1., nan, inf])"),
    (lambda: tg.tensor([1.0, -1.0]), "tensor([ 1., -1.])"),
    (lambda: tg.zeros(0), "tensor([])"),
    (lambda: tg.zeros(2, 0), "tensor([], size=(2, 0))"),
    (lambda: tg.zeros(1, dtype=tg.float64), "tensor([0.], dtype=tengen.float64)"),
    (lambda: tg.zeros(1, dtype=tg.int8), "tensor([0], dtype=tengen.int8)"),
    (lambda: tg.zeros(1, requires_grad=True), "tensor([0.], requires_grad=True)"),
    (lambda: tg.zeros(1, requires_grad=True) + 1, "tensor([1.], grad_fn=<AddBackward>)"),
    (lambda: tg.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
])
def test_repr(make, text):
    assert repr(make()) == text


def test_repr_summarises_all_axes():
    text = repr(tg.zeros(100, 100))
    assert text.count("\n") == 6 and "        ...,\n" in text and text.count("  ...,") >= 6


def test_format():
    assert f"{tg.tensor(1.23456):.2f}" == "1.23" and f"{tg.tensor([7]):03d}" == "007" and f"{tg.tensor(2)}" == "tensor(2)"
    with pytest.raises(TypeError, match="one element"):
        f"{tg.zeros(2):.2f}"


# ---- copies -------------------------------------------------------------------------------------------------------------


def test_clone_detach_deepcopy_pickle():
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.tolist() == x.tolist() and y.data_ptr() != x.data_ptr() and y.grad.tolist() == x.grad.tolist()
    z = pickle.loads(pickle.dumps(x))
    assert z.requires_grad and z.tolist() == x.tolist()
    assert x.detach().data_ptr() == x.data_ptr() and x.clone().data_ptr() != x.data_ptr()
    assert x.clone().grad_fn is not None and x.detach().is_leaf
    b = tg.tensor([1.0, 3.0]).bfloat16()
    assert pickle.loads(pickle.dumps(b)).float().tolist() == [1.0, 3.0]
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)
    with pytest.raises(RuntimeError, match="detach"):
        pickle.dumps(x * 2)
    v = pickle.loads(pickle.dumps(tg.arange(6).reshape(2, 3).T))
    assert v.tolist() == [[0, 3], [1, 4], [2, 5]]


# ---- import -------------------------------------------------------------------------------------------------------------


def test_import_loads_no_plugin_and_no_heavy_module():
    program = textwrap.dedent("""
        import sys, numpy
        before = set(sys.modules)
        import tengen as tg
        new = set(sys.modules) - before
        heavy = {"inspect", "importlib.metadata", "tengen.nn", "tengen.optim", "tengen._repr", "email"} & new
        assert not heavy, heavy
        maps = open("/proc/self/maps").read()
        assert "libtengen_" not in maps, "a plugin was loaded"
        tg.zeros(1) + 1
    """)
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- examples -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, op in tg._core.ops.items() if ">>>" in op.__doc__])
def test_examples_of_ops(name):
    """The examples of the op table, as a reader would type them."""
    import doctest

    test = doctest.DocTestParser().get_doctest(tg._core.ops[name].__doc__, {"tg": tg, "np": np}, name, None, None)
    out = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test, out=out.append)
    assert runner.failures == 0, "".join(out)


# ---- types --------------------------------------------------------------------------------------------------------------


def test_stubs_are_up_to_date():
    """tengen/__init__.pyi is written from the op table: python -m tengen._stubs"""
    from tengen import _stubs

    assert _stubs.PATH.read_text() == _stubs.render()
