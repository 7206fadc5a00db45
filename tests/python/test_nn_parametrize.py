# SPDX-License-Identifier: Apache-2.0
"""tengen.nn.utils.parametrize and the parametrizations, against NumPy and finite differences."""
import copy
import pickle

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
from tengen import nn
from tengen.nn.utils import parametrizations, parametrize


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()

    def right_inverse(self, x):
        return x.log()


class Product(nn.Module):
    """Of two tensors."""

    def forward(self, a, b):
        return a * b

    def right_inverse(self, x):
        return x * 2.0, x * 0.0 + 0.5


class Double(nn.Module):  # no way back
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * 2.0


def test_register_use_and_remove():
    layer = nn.Linear(3, 3)
    weight, values = layer.weight, layer.weight.detach().numpy().copy()
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1)
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias") and not parametrize.is_parametrized(nn.Linear(1, 1))
    assert isinstance(layer, nn.Linear) and parametrize.type_before_parametrizations(layer) is nn.Linear
    want = np.triu(values) + np.triu(values, 1).T
    close(layer.weight, want)
    x = rand(2, 3)
    close(layer(t(x)), x @ want.T + layer.bias.detach().numpy())
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert layer.parametrizations.weight.original is weight  # the optimizer's

    for _ in range(3):
        optimizer.zero_grad()
        layer(t(x)).sum().backward()
        assert np.abs(weight.grad.numpy()).sum() > 0 and not np.tril(weight.grad.numpy(), -1).any()
        optimizer.step()
        close(layer.weight, layer.weight.detach().numpy().T)
    new = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6]], np.float32)
    layer.weight = t(new)
    close(layer.weight, new)
    assert not np.tril(weight.detach().numpy(), -1).any()

    now = layer.weight.detach().numpy().copy()
    assert parametrize.remove_parametrizations(layer, "weight") is layer
    assert type(layer) is nn.Linear and layer.weight is weight and list(layer.state_dict()) == ["bias", "weight"]
    close(layer.weight, now)
    parametrize.register_parametrization(layer, "weight", Double())
    before = layer.parametrizations.weight.original.detach().numpy().copy()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    close(layer.weight, before)


def test_several_parametrizations_of_several_tensors():
    layer = nn.Linear(3, 3)
    nn.init.uniform_(layer.weight, 0.5, 1.0)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    symmetric = layer.weight.detach().numpy().copy()
    parametrize.register_parametrization(layer, "weight", Exp())
    close(layer.weight, symmetric)  # the first got the inverse of the second
    close(layer.parametrizations.weight.original, np.where(np.triu(np.ones((3, 3))), np.log(symmetric), 0))
    parametrize.register_parametrization(layer, "bias", Double())
    assert [n for n, _ in layer.named_parameters()] == ["parametrizations.weight.original", "parametrizations.bias.original"]
    new = np.exp(np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6]], np.float32) / 6)
    layer.weight = t(new)
    close(layer.weight, new)
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "bias") and not parametrize.is_parametrized(layer, "weight")
    parametrize.remove_parametrizations(layer, "bias")
    assert type(layer) is nn.Linear


def test_two_originals_and_buffers():
    norm = nn.BatchNorm1d(3)
    parametrize.register_parametrization(norm, "running_var", Product())
    assert list(dict(norm.named_buffers()))[-2:] == [f"parametrizations.running_var.original{i}" for i in (0, 1)]
    close(norm.running_var, np.ones(3))
    norm.running_var = t(np.full(3, 3, np.float32))
    close(norm.running_var, np.full(3, 3))
    parametrize.remove_parametrizations(norm, "running_var")
    assert "running_var" in norm._buffers and norm.running_var.tolist() == [3, 3, 3]

    layer = nn.Linear(2, 2)
    values = layer.weight.detach().numpy().copy()
    parametrize.register_parametrization(layer, "weight", Product())
    close(layer.weight, values)
    layer.weight.sum().backward()
    a, b = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    close(a.grad, b.detach().numpy())
    close(b.grad, a.detach().numpy())
    with pytest.raises(ValueError, match="2 originals"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    close(layer.weight, values)
    assert isinstance(layer.weight, nn.Parameter)


def test_cached():
    layer, double = nn.Linear(2, 2), Double()
    parametrize.register_parametrization(layer, "weight", double)
    double.calls = 0
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        layer(t(rand(1, 2)))
        assert double.calls == 1 and layer.weight is first
    assert layer.weight is not first and double.calls == 2


def test_copies_and_states():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    x = t(rand(4, 3))
    want = layer(x).detach().numpy()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is not type(layer) and isinstance(twin, nn.Linear)
        close(twin(x), want)
        with tg.no_grad():
            twin.parametrizations.weight.original0.mul_(2.0)
        close(layer(x), want)
    other = parametrizations.weight_norm(nn.Linear(3, 2))
    other.load_state_dict(layer.state_dict())
    close(other(x), want)
    layer.double()
    assert layer.weight.dtype == tg.float64
    assert nn.Linear(3, 2).weight.shape == (2, 3)  # the class itself is as before


def test_errors():
    layer = nn.Linear(3, 2)

    class Cut(nn.Module):
        def forward(self, x):
            return x[:1]

    before = layer.weight
    with pytest.raises(ValueError, match=r"keep shape \(2, 3\).*unsafe=True"):
        parametrize.register_parametrization(layer, "weight", Cut())
    assert layer.weight is before and type(layer) is nn.Linear
    parametrize.register_parametrization(layer, "weight", Cut(), unsafe=True)
    assert layer.weight.shape == (1, 3)
    for call in (lambda: parametrize.register_parametrization(layer, "nothing", Double()),
                 lambda: parametrize.register_parametrization(nn.Linear(1, 1, bias=False), "bias", Double()),
                 lambda: parametrize.remove_parametrizations(layer, "bias"),
                 lambda: setattr(parametrizations.weight_norm(nn.Linear(3, 2)), "weight", tg.zeros((3, 2)))):
        with pytest.raises(ValueError):
            call()


# ---- the parametrizations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm(dim):
    layer = nn.Conv2d(3, 4, 2)
    w = layer.weight.detach().numpy().copy()
    parametrizations.weight_norm(layer, dim=dim)
    close(layer.weight, w)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    axes = tuple(i for i in range(4) if dim is None or i != dim % 4)
    close(g, np.sqrt((w**2).sum(axes, keepdims=dim is not None)))
    with tg.no_grad():
        g.mul_(3.0)
        v.mul_(0.5)
    close(layer.weight, 3 * w)
    new = rand(4, 3, 2, 2)
    layer.weight = t(new)
    close(layer.weight, new)


def largest(w, dim=0):
    return np.linalg.svd(np.moveaxis(w, dim, 0).reshape(w.shape[dim], -1), compute_uv=False)[0]


@pytest.mark.parametrize("make, dim", [(lambda: nn.Linear(5, 4), 0), (lambda: nn.Conv2d(3, 4, 2), 0),
                                       (lambda: nn.ConvTranspose2d(3, 4, 2), 1)])
def test_spectral_norm(make, dim):
    layer = make()
    w = layer.weight.detach().numpy().copy()
    parametrizations.spectral_norm(layer, n_power_iterations=5)
    for _ in range(60):  # the power method goes on with every use
        got = layer.weight
    close(got, w / largest(w, dim), 1e-3)
    layer.eval()
    state = layer.parametrizations.weight[0]._u.numpy().copy()
    close(layer.weight, got.detach().numpy())
    np.testing.assert_array_equal(layer.parametrizations.weight[0]._u.numpy(), state)
    # d(sum of c w / s): finite differences with u and v fixed, as for a simple singular value
    layer.double()
    original, c = layer.parametrizations.weight.original, rand(*w.shape).astype(np.float64)
    d = rand(*w.shape).astype(np.float64)
    (layer.weight * t(c)).sum().backward()
    analytic = (original.grad.numpy() * d).sum()
    values = []
    for step in (1e-6, -1e-6):
        moved = original.detach().numpy() + step * d
        values.append((c * moved).sum() / largest(moved, dim))
    assert abs(analytic - (values[0] - values[1]) / 2e-6) < 1e-2 * (1 + abs(analytic))


def test_spectral_norm_of_a_vector_and_errors():
    norm = nn.LayerNorm(4)
    parametrizations.spectral_norm(norm)
    close(norm.weight, np.full(4, 0.5))
    with pytest.raises(ValueError, match="n_power_iterations"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="no parameter"):
        parametrizations.spectral_norm(nn.ReLU())


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (1, 1)])
@pytest.mark.parametrize("name", ["matrix_exp", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(shape, name, trivial):
    layer = nn.Linear(shape[1], shape[0], bias=False).double()
    w = layer.weight.detach().numpy().copy()
    parametrizations.orthogonal(layer, orthogonal_map=name, use_trivialization=trivial)

    def assert_orthogonal():
        q = layer.weight.detach().numpy()
        assert q.shape == shape
        q = q if shape[0] >= shape[1] else q.T
        np.testing.assert_allclose(q.T @ q, np.eye(min(shape)), atol=1e-12)
        return layer.weight.detach().numpy()

    q = assert_orthogonal()
    if trivial:  # starts at the weight's orthogonal factor
        tall, factor = (w, q) if shape[0] >= shape[1] else (w.T, q.T)
        r = factor.T @ tall
        np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-12)
        assert (np.diagonal(r) > 0).all()
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.02)
    goal = np.linalg.qr(rand(6, 6).astype(np.float64))[0][: shape[0], : shape[1]]
    losses = []
    for _ in range(10):
        loss = ((layer.weight - t(goal)) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert_orthogonal()
    assert losses[-1] < losses[0] or shape == (1, 1)
    if trivial:
        layer.weight = t(q)
        np.testing.assert_allclose(layer.weight.detach().numpy(), q, atol=1e-12)


def test_orthogonal_of_large_numbers():
    """Squaring: exp of a skew matrix of norm 100 is still orthogonal, and right."""
    from scipy.linalg import expm

    layer = nn.Linear(4, 4).double()
    parametrizations.orthogonal(layer, use_trivialization=False)
    with tg.no_grad():
        layer.parametrizations.weight.original.copy_(t(rand(4, 4).astype(np.float64) * 50))
    low = np.tril(layer.parametrizations.weight.original.detach().numpy(), -1)
    np.testing.assert_allclose(layer.weight.detach().numpy(), expm(low - low.T), atol=1e-10)
    with pytest.raises(ValueError, match="two axes"):
        parametrizations.orthogonal(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="orthogonal_map"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr")


def test_removal_by_the_old_names():
    from tengen.nn import utils

    for add, remove in ((utils.weight_norm, utils.remove_weight_norm), (utils.spectral_norm, utils.remove_spectral_norm)):
        layer = add(nn.Linear(3, 2)).eval()
        want = layer.weight.detach().clone()
        assert remove(layer) is layer and type(layer) is nn.Linear
        np.testing.assert_array_equal(layer.weight.detach().numpy(), want.numpy())
        with pytest.raises(ValueError, match="is not under"):
            remove(layer)
