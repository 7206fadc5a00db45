# SPDX-License-Identifier: Apache-2.0
"""einsum in both forms and its order of contraction, tensordot, chains of products, matmul at its edges: against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tengen as tg


def test_list_form(rng):
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    x, y = tg.tensor(a), tg.tensor(b)
    for axes in (([0, 1, 2], [0, 2, 3], [0, 1, 3]), ([..., 1, 2], [..., 2, 0], [..., 1, 0]), ([0, 26, 51], [0, 51, 7])):
        expected = np.einsum(a, axes[0], b, axes[1], *axes[2:])
        np.testing.assert_allclose(tg.einsum(x, axes[0], y, axes[1], *axes[2:]).numpy(), expected, rtol=1e-13)
    with pytest.raises(ValueError, match="52"):
        tg.einsum(x, [0, 1, 52])
    with pytest.raises(TypeError):
        tg.einsum(x)
    np.testing.assert_allclose(tg.einsum("bij,bjk", [x, y]).numpy(), np.einsum("bij,bjk", a, b), rtol=1e-13)


def cost(equation, sizes, path):
    """Multiplications of an order, counted apart from the library's counting."""
    left, output = equation.split("->")
    terms = left.split(",")
    total = 0
    for i, j in path:
        pair = [terms[i], terms[j]]
        terms = [t for k, t in enumerate(terms) if k not in (i, j)]
        total += np.prod([sizes[c] for c in set("".join(pair))], dtype=float)
        terms.append("".join(c for c in sorted(set("".join(pair))) if c in output or any(c in t for t in terms)))
    return total


def all_paths(n):
    if n == 1:
        yield ()
        return
    for pair in itertools.combinations(range(n), 2):
        for rest in all_paths(n - 1):
            yield (pair, *rest)


@pytest.mark.parametrize(
    "equation", ["ij,jk,kl->il", "ab,bc,cd,de->ae", "abc,cd,bde,e->a", "ij,kl,jm,mk,n->iln", "ea,fb,abcd,gc,hd->efgh"]
)
def test_path_is_optimal(equation, rng):
    """No other order of pairs needs fewer multiplications (all orders are tried)."""
    letters = sorted(set(equation) - set(",->"))
    for _ in range(5):
        sizes = {c: int(n) for c, n in zip(letters, rng.integers(1, 9, len(letters)))}
        operands = [tg.ones(tuple(sizes[c] for c in term)) for term in equation.split("->")[0].split(",")]
        name, *path = tg.einsum_path(equation, *operands, optimize="optimal")[0]
        assert name == "einsum_path"
        # Axes of size 1 that broadcast are none of the letters' sizes here: all are consistent.
        best = min(cost(equation, sizes, p) for p in all_paths(len(operands)))
        assert cost(equation, sizes, path) == best
        arrays = [t.numpy() for t in operands]
        for how in ("greedy", "left", True, False, [name, *path]):
            np.testing.assert_allclose(
                tg.einsum(equation, *operands, optimize=how).numpy(), np.einsum(equation, *arrays), rtol=1e-5
            )


def test_path_report(rng):
    a, b, c = tg.ones((2, 30)), tg.ones((30, 3)), tg.ones((3, 40))
    path, text = tg.einsum_path("ij,jk,kl->il", a, b, c)
    assert path == ["einsum_path", (0, 1), (0, 1)]
    assert "this order: 420" in text and "one loop: 1.44e+04" in text
    many = [tg.ones((2, 2))] * 12  # beyond the optimal search
    letters = "abcdefghijklm"
    equation = ",".join(letters[i : i + 2] for i in range(12)) + "->am"
    assert len(tg.einsum_path(equation, *many)[0]) == 12
    np.testing.assert_array_equal(tg.einsum(equation, *many).numpy(), np.full((2, 2), 2.0**11))
    with pytest.raises(ValueError, match="pairs"):
        tg.einsum("i,i,i->i", *[tg.ones(2)] * 3, optimize=[(0, 1, 2)])


def test_no_copies_for_a_batched_product():
    """A contraction whose operands already lie right is one matrix product: nothing is copied."""
    a, b = tg.ones((4, 8, 16)), tg.ones((4, 32, 16))
    tg.einsum("bij,bkj->bik", a, b)
    before = tg.dispatch_stats()["launches"]
    tg.einsum("bij,bkj->bik", a, b)
    assert tg.dispatch_stats()["launches"] - before == 1


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 1), (1, 0)), (0, 1), ([2], [-1])])
def test_tensordot(axes, rng):
    a, b = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 3, 3))
    np.testing.assert_allclose(tg.tensordot(tg.tensor(a), tg.tensor(b), axes).numpy(), np.tensordot(a, b, axes), rtol=1e-12)


def test_tensordot_errors():
    for axes in (-1, 3, 4):
        with pytest.raises(ValueError, match="tensordot"):
            tg.tensordot(tg.ones((2, 2)), tg.ones((2, 2)), axes)


@pytest.mark.parametrize("shapes", [[(2, 3), (3, 4)], [(5,), (5, 2), (2, 6), (6,)], [(2, 9), (9, 1), (1, 7), (7, 3)]])
def test_multi_dot(shapes, rng):
    arrays = [rng.normal(size=s) for s in shapes]
    expected = np.linalg.multi_dot(arrays)
    np.testing.assert_allclose(tg.linalg.multi_dot([tg.tensor(a) for a in arrays]).numpy(), expected, rtol=1e-11)
    np.testing.assert_allclose(tg.chain_matmul(*[tg.tensor(a) for a in arrays]).numpy(), expected, rtol=1e-11)


def test_multi_dot_errors():
    for shapes in ([(2, 3)], [(2, 3), (2, 3)], [(2, 3), (3,), (3, 2)]):
        with pytest.raises(ValueError, match="multi_dot"):
            tg.linalg.multi_dot([tg.ones(s) for s in shapes])
    long = [tg.eye(2) * 1.0] * 60
    np.testing.assert_array_equal(tg.linalg.multi_dot(long).numpy(), np.eye(2))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_matrix_power(n, rng):
    a = rng.normal(size=(2, 3, 3))
    np.testing.assert_allclose(tg.matrix_power(tg.tensor(a), n).numpy(), np.linalg.matrix_power(a, n), rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match="square"):
        tg.matrix_power(tg.ones((2, 3)), n)


SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((4, 2, 3), (3,)),
    ((3,), (4, 3, 2)),
    ((4, 1, 2, 3), (5, 3, 2)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
    ((2, 0, 3), (3, 2)),
    ((5, 2, 0), (0, 3)),
    ((0,), (0,)),
    ((2, 3, 0), (2, 0, 1)),
    ((0, 2, 3), (0, 3, 1)),
]


@pytest.mark.parametrize("a,b", SHAPES, ids=str)
def test_matmul_shapes_out_and_gradients(a, b, rng):
    """Vectors, broadcast batches and empty sizes: values, out=, gradients against the einsum of NumPy."""
    x, y = rng.normal(size=a), rng.normal(size=b)
    t, u = tg.tensor(x, requires_grad=True), tg.tensor(y, requires_grad=True)
    expected = np.matmul(x, y)
    got = tg.matmul(t, u)
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)
    out = tg.full(expected.shape, np.nan, dtype=tg.float64)
    assert tg.matmul(t.detach(), u.detach(), out=out) is out
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)
    g = rng.normal(size=expected.shape)
    got.backward(tg.tensor(g))
    h = 2.0**-20
    for leaf, array, place in ((t, x, 0), (u, y, 1)):
        assert leaf.grad.shape == leaf.shape
        direction = rng.normal(size=array.shape)
        sides = [
            (np.matmul(*[array + s * h * direction if i == place else (x, y)[i] for i in (0, 1)]) * g).sum() for s in (1, -1)
        ]
        assert abs((sides[0] - sides[1]) / (2 * h) - (leaf.grad.numpy() * direction).sum()) < 1e-7


def test_matmul_names():
    a, b = tg.ones((2, 3)), tg.ones((3, 4))
    assert tg.mm(a, b).shape == (2, 4) and tg.bmm(a[None], b[None]).shape == (1, 2, 4) and tg.mv(a, b[:, 0]).shape == (2,)
    assert a.mm(b).shape == (2, 4) and a[None].bmm(b[None]).shape == (1, 2, 4) and a.mv(b[:, 0]).shape == (2,)
    for f, x, y in ((tg.mm, a[None], b), (tg.bmm, a, b), (tg.mv, a, b), (tg.bmm, tg.ones((2, 1, 3)), tg.ones((1, 3, 2)))):
        with pytest.raises(ValueError):
            f(x, y)
