# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: the module protocol, and every layer and function against NumPy formulas."""
import copy
import itertools
import math
import pickle

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import nn

RNG = np.random.RandomState(0)


def rand(*shape, dtype=np.float32):
    return RNG.randn(*shape).astype(dtype)


def t(array, grad=False):
    out = tg.tensor(np.asarray(array))
    return out.requires_grad_(True) if grad else out


def close(got, want, tol=1e-5):
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=tol, atol=tol)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        self.scale = nn.Parameter(tg.ones((1,)))
        self.register_buffer("seen", tg.zeros((1,)))
        self.register_buffer("scratch", tg.zeros((1,)), persistent=False)

    def forward(self, x):
        return self.head(self.bn(self.conv1(x)).relu()) * self.scale


# ---- the protocol ----------------------------------------------------------------------------------------------------

NAMES = ["scale", "conv1.weight", "conv1.bias", "bn.weight", "bn.bias", "head.1.weight", "head.1.bias"]


def test_names():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert len(list(net.parameters())) == 7 and len(list(net.parameters(recurse=False))) == 1
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch", "bn.running_mean", "bn.running_var",
                                                   "bn.num_batches_tracked"]
    assert [n for n, _ in net.named_modules()] == ["", "conv1", "bn", "head", "head.0", "head.1"]
    assert [n for n, _ in net.named_children()] == ["conv1", "bn", "head"]
    assert [type(m).__name__ for m in net.modules()] == [
        "Net",
        "Conv2d",
        "BatchNorm2d",
        "Sequential",
        "Flatten",
        "Linear",
    ]
    assert net.get_submodule("head.1") is net.head[1]
    assert (
        net.get_parameter("head.1.bias") is net.head[1].bias and net.get_buffer("bn.running_var") is net.bn.running_var
    )
    with pytest.raises(AttributeError, match="has no submodule 'head.7': Sequential has no '7', only 0, 1"):
        net.get_submodule("head.7")


def test_shared_parameters_count_once():
    a = nn.Linear(3, 3)
    both = nn.ModuleList([a, a])
    assert len(list(both.parameters())) == 2
    assert list(both.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_attributes():
    net = Net()
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'conv'; did you mean 'conv1'?"):
        net.conv
    with pytest.raises(
        TypeError, match="cannot assign Tensor to parameter 'scale' of Net: expected nn.Parameter or None"
    ):
        net.scale = tg.ones((1,))
    with pytest.raises(TypeError, match="cannot assign int to module 'bn'"):
        net.bn = 3
    with pytest.raises(TypeError, match="cannot assign int to buffer 'seen'"):
        net.seen = 3
    net.scale = None
    assert net.scale is None and "scale" not in dict(net.named_parameters())
    net.scale = nn.Parameter(tg.zeros((2,)))
    assert dict(net.named_parameters())["scale"] is net.scale
    net.seen = tg.ones((5,))
    assert dict(net.named_buffers())["seen"] is net.seen
    del net.bn
    assert not hasattr(net, "bn") and "bn.weight" not in net.state_dict()
    net.conv1 = nn.Identity()
    assert "conv1.weight" not in net.state_dict()
    net.plain = [1]
    assert net.plain == [1]
    with pytest.raises(KeyError, match="without dots"):
        net.register_buffer("a.b", tg.ones((1,)))
    with pytest.raises(KeyError, match="'plain' of Net exists already"):
        net.register_buffer("plain", tg.ones((1,)))
    with pytest.raises(TypeError, match="cannot register Tensor as parameter 'w': expected nn.Parameter or None"):
        net.register_parameter("w", tg.ones((1,)))


def test_without_super_init():
    class Bad(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign a module before super\(\).__init__\(\) of Bad was called"):
        Bad()


def test_parameter():
    data = tg.zeros((2,))
    p = nn.Parameter(data)
    assert isinstance(p, tg.Tensor) and p.requires_grad and p.is_leaf
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert repr(p).startswith("Parameter containing:\ntensor([0., 0.]")
    twin = copy.deepcopy(p)
    assert type(twin) is nn.Parameter and twin.requires_grad and twin is not p
    with tg.no_grad():
        twin.add_(1)
    assert p.tolist() == [0, 0]
    back = pickle.loads(pickle.dumps(p))
    assert type(back) is nn.Parameter and back.requires_grad and back.tolist() == [0, 0]
    (p * 3).sum().backward()
    assert p.grad.tolist() == [3, 3] and type(p + 1) is tg.Tensor


def test_state_dict_round_trip():
    a, b = Net(), Net()
    state = a.state_dict()
    assert list(state) == ["scale", "seen", "conv1.weight", "conv1.bias", "bn.weight", "bn.bias", "bn.running_mean",
                           "bn.running_var", "bn.num_batches_tracked", "head.1.weight", "head.1.bias"]
    assert not any(v.requires_grad for v in state.values())
    result = b.load_state_dict(state)
    assert repr(result) == "<All keys matched successfully>"
    head = nn.Linear(2, 2)
    assert nn.Sequential(head).state_dict()["0.weight"].data_ptr() == head.weight.data_ptr()
    for k in state:
        assert (b.state_dict()[k].numpy() == state[k].numpy()).all()
    assert b.conv1.weight.data_ptr() != a.conv1.weight.data_ptr()
    b.load_state_dict(state, assign=True)
    assert isinstance(b.conv1.weight, nn.Parameter) and b.conv1.weight.data_ptr() == a.conv1.weight.data_ptr()


def test_state_dict_through_a_file(tmp_path):
    a, b = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    tg.save(a.state_dict(), tmp_path / "net.safetensors")
    b.load_state_dict(tg.load(tmp_path / "net.safetensors"))
    x = t(rand(2, 16))
    assert (a(x).detach().numpy() == b(x).detach().numpy()).all()


def test_load_state_dict_messages():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = dict(net.state_dict())
    state["0.wieght"] = state.pop("0.weight")
    state["1.weight"] = tg.zeros((9, 9))
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "[load_state_dict] the state does not fit Sequential:\n"
        "  1.weight: expected shape (1, 3), got (9, 9)\n"
        "  missing: 0.weight\n"
        "  unexpected: 0.wieght (did you mean 0.weight?)")
    with pytest.raises(RuntimeError, match=r"1.weight: expected shape \(1, 3\)"):
        net.load_state_dict(state, strict=False)
    del state["1.weight"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.weight", "1.weight"] and result.unexpected_keys == ["0.wieght"]
    with pytest.raises(TypeError, match="mapping of names to tensors, got list"):
        net.load_state_dict([])


def test_train_eval_requires_grad_zero_grad_apply():
    net = Net()
    assert net.training and net.eval() is net and not net.bn.training and not net.training
    assert net.train().head.training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_(True)
    net(t(rand(2, 1, 2, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    order = []
    assert net.apply(lambda m: order.append(type(m).__name__)) is net
    assert order == ["Conv2d", "BatchNorm2d", "Flatten", "Linear", "Sequential", "Net"]


def test_to_dtype_keeps_parameters():
    net = Net()
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    before = list(net.parameters())
    assert net.to(tg.float64) is net and net.double() is net
    assert all(p.dtype == tg.float64 for p in net.parameters())
    assert net.bn.num_batches_tracked.dtype == tg.int64 and net.bn.running_mean.dtype == tg.float64
    assert all(a is b for a, b in zip(before, net.parameters()))
    assert all(a is b for a, b in zip(before, optimizer.param_groups[0]["params"]))
    assert net.scale is dict(net.named_parameters())["scale"]
    net(t(rand(2, 1, 2, 2, dtype=np.float64))).sum().backward()
    assert net.scale.grad.dtype == tg.float64
    assert net.float().scale.grad.dtype == tg.float32
    with pytest.raises(TypeError, match="floating dtype"):
        net.to(tg.int32)
    assert net.to(tg.default_device()).scale.device == tg.default_device()


def test_deepcopy_and_pickle():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.scale is twin._parameters["scale"] and twin.scale is not net.scale
        assert list(twin.state_dict()) == list(net.state_dict())
        net.eval(), twin.eval()
        x = t(rand(2, 1, 2, 2))
        assert (net(x).detach().numpy() == twin(x).detach().numpy()).all()


def test_repr():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8),
                                          nn.ReLU(inplace=True), nn.MaxPool2d(2))
            self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.GELU()])
            self.heads = nn.ModuleDict({"a": nn.Identity(), "b": nn.Dropout(0.1)})
            self.embed = nn.Embedding(10, 3, padding_idx=0)

    assert repr(Outer()) == """\
Outer(
  (features): Sequential(
    (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
    (1): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    (2): ReLU(inplace=True)
    (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  )
  (blocks): ModuleList(
    (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)
    (2): GELU(approximate='none')
  )
  (heads): ModuleDict(
    (a): Identity()
    (b): Dropout(p=0.1, inplace=False)
  )
  (embed): Embedding(10, 3, padding_idx=0)
)"""


@pytest.mark.parametrize(
    "layer, text",
    [
        (
            lambda: nn.Conv1d(4, 8, 3, groups=2, dilation=2),
            "Conv1d(4, 8, kernel_size=(3,), stride=(1,), dilation=(2,), groups=2)",
        ),
        (lambda: nn.Conv2d(1, 1, 3, padding="same"), "Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=same)"),
        (lambda: nn.ConvTranspose2d(2, 4, 2, stride=2), "ConvTranspose2d(2, 4, kernel_size=(2, 2), stride=(2, 2))"),
        (lambda: nn.LayerNorm(5), "LayerNorm((5,), eps=1e-05, elementwise_affine=True)"),
        (lambda: nn.GroupNorm(2, 4), "GroupNorm(2, 4, eps=1e-05, affine=True)"),
        (lambda: nn.RMSNorm(4), "RMSNorm((4,), eps=None, elementwise_affine=True)"),
        (lambda: nn.AvgPool2d(2), "AvgPool2d(kernel_size=2, stride=2, padding=0)"),
        (lambda: nn.AvgPool1d(2), "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"),
        (lambda: nn.AdaptiveAvgPool2d((1, 1)), "AdaptiveAvgPool2d(output_size=(1, 1))"),
        (lambda: nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
        (lambda: nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))"),
        (lambda: nn.Softmax(dim=1), "Softmax(dim=1)"),
        (lambda: nn.LogSoftmax(-1), "LogSoftmax(dim=-1)"),
        (lambda: nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (lambda: nn.SiLU(), "SiLU()"),
        (lambda: nn.Sigmoid(), "Sigmoid()"),
        (lambda: nn.Tanh(), "Tanh()"),
        (lambda: nn.ReLU(), "ReLU()"),
        (lambda: nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
        (lambda: nn.MSELoss(), "MSELoss()"),
        (lambda: nn.Linear(1, 2, bias=False), "Linear(in_features=1, out_features=2, bias=False)"),
        (lambda: nn.Sequential(), "Sequential()"),
    ],
)
def test_repr_of_layers(layer, text):
    assert repr(layer()) == text


# ---- hooks -----------------------------------------------------------------------------------------------------------


def test_forward_hooks():
    layer, calls = nn.Linear(2, 2), []
    x = t(rand(3, 2))
    plain = layer(x)
    with layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,)):
        close(layer(x) - layer.bias, 2 * (plain - layer.bias).detach().numpy())
    handle = layer.register_forward_hook(lambda m, args, out: calls.append((m, args[0] is x, out.shape)))
    other = layer.register_forward_hook(lambda m, args, out: out + 1)
    close(layer(x), plain.detach().numpy() + 1)
    assert calls == [(layer, True, (3, 2))]
    other.remove()
    handle.remove()
    handle.remove()
    close(layer(x), plain.detach().numpy())
    assert len(calls) == 1


def test_forward_hooks_with_kwargs_and_order():
    class Add(nn.Module):
        def forward(self, x, y=0):
            return x + y

    add, seen = Add(), []
    add.register_forward_pre_hook(lambda m, a, k: (a, {"y": k["y"] * 10}), with_kwargs=True)
    add.register_forward_hook(lambda m, a, k, out: seen.append(("second", k)), with_kwargs=True)
    add.register_forward_hook(lambda m, a, out: seen.append("first"), prepend=True)
    assert add(1, y=2) == 21 and seen == ["first", ("second", {"y": 20})]

    class Fails(nn.Module):
        def forward(self):
            raise KeyError("no")

    fails = Fails()
    fails.register_forward_hook(lambda m, a, out: seen.append(out), always_call=True)
    with pytest.raises(KeyError):
        fails()
    assert seen[-1] is None


def test_full_backward_hooks():
    layer, seen = nn.Linear(3, 2), []
    handle = layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = t(rand(4, 3), grad=True)
    layer(x).sum().backward()
    [(gi, go)] = seen
    close(go[0], np.ones((4, 2)))
    close(gi[0], np.ones((4, 2)) @ layer.weight.detach().numpy())
    close(x.grad, np.ones((4, 2)) @ layer.weight.detach().numpy())
    handle.remove()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0,))
    x.grad = None
    layer(x).sum().backward()
    close(x.grad, np.zeros((4, 3)))
    assert len(seen) == 1


def test_full_backward_hooks_without_input_gradient():
    layer, seen = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    layer(t(rand(4, 3))).sum().backward()
    assert seen[0][0] == (None,)
    close(seen[0][1][0], np.full((4, 2), 2))
    close(layer.bias.grad, [8, 8])


def test_full_backward_hook_sees_two_inputs_together():
    class Mul(nn.Module):
        def forward(self, a, b):
            return a * b, a + b

    mul, seen = Mul(), []
    mul.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a, b = t([2.0], grad=True), t([3.0], grad=True)
    p, q = mul(a, b)
    (p * 5 + q * 7).sum().backward()
    assert len(seen) == 1
    assert [g.item() for g in seen[0][0]] == [22, 17] and [g.item() for g in seen[0][1]] == [5, 7]


# ---- containers ------------------------------------------------------------------------------------------------------


def test_sequential():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    net = nn.Sequential(a, b, c)
    x = t(rand(4, 2))
    close(net(x), c(b(a(x))).detach().numpy())
    assert len(net) == 3 and net[0] is a and net[-1] is c and list(net) == [a, b, c]
    assert list(net[1:]) == [b, c] and list(net[1:]._modules) == ["1", "2"]
    named = nn.Sequential({"first": a, "act": b})
    assert named.first is a and list(named.state_dict()) == ["first.weight", "first.bias"]
    net.append(nn.Tanh()).insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in net] == ["Linear", "Sigmoid", "ReLU", "Linear", "Tanh"]
    del net[1]
    net[1] = nn.Identity()
    assert [type(m).__name__ for m in net] == ["Linear", "Identity", "Linear", "Tanh"]
    assert type(net.pop(-1)).__name__ == "Tanh" and len(net.extend([nn.ReLU(), nn.ReLU()])) == 5
    with pytest.raises(IndexError, match="index 9 is out of range for a Sequential of 5"):
        net[9]
    with pytest.raises(TypeError, match="cannot add int as module '0'"):
        nn.Sequential(3)


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1)]) + [nn.Linear(1, 2)]
    assert [n for n, _ in layers.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert isinstance(layers[:1], nn.ModuleList)
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        layers(1)
    d = nn.ModuleDict({"a": nn.ReLU()})
    d["b-c"] = nn.Linear(1, 1)
    assert list(d) == ["a", "b-c"] and "a" in d and len(d) == 2 and isinstance(d.pop("a"), nn.ReLU)
    assert list(d.state_dict()) == ["b-c.weight", "b-c.bias"]
    d.clear()
    assert len(d) == 0
    p = nn.ParameterList([tg.ones((2,)), nn.Parameter(tg.zeros((1,)))])
    p.append(tg.ones((3,)))
    assert len(p) == 3 and [n for n, _ in p.named_parameters()] == ["0", "1", "2"] and p[-1].shape == (3,)
    p[0] = tg.zeros((2,))
    assert p[0].tolist() == [0, 0] and len(p[1:]) == 2


# ---- initial values --------------------------------------------------------------------------------------------------


def test_default_initial_values():
    tg.manual_seed(0)
    w = nn.Linear(400, 300)
    bound = 1 / math.sqrt(400)
    for array in (w.weight.detach().numpy(), w.bias.detach().numpy()):
        assert np.abs(array).max() <= bound and np.abs(array).max() > 0.95 * bound and abs(array.mean()) < bound / 5
    assert np.std(w.weight.detach().numpy()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    c = nn.Conv2d(8, 64, 3).weight.detach().numpy()
    assert np.abs(c).max() <= 1 / math.sqrt(72) and np.std(c) == pytest.approx(1 / math.sqrt(216), rel=0.05)
    e = nn.Embedding(500, 40, padding_idx=-1)
    assert e.padding_idx == 499 and (e.weight.detach().numpy()[499] == 0).all()
    assert np.std(e.weight.detach().numpy()[:499]) == pytest.approx(1, rel=0.02)
    tg.manual_seed(0)
    assert (nn.Linear(400, 300).weight.detach().numpy() == w.weight.detach().numpy()).all()


def test_init_functions():
    tg.manual_seed(1)
    x = tg.empty((200, 100))
    init = nn.init

    def stats(f, *args, **kw):
        assert f(x, *args, **kw) is x
        return x.numpy().mean(), x.numpy().std(), x.numpy().min(), x.numpy().max()

    mean, std, low, high = stats(init.uniform_, -2, 4)
    assert mean == pytest.approx(1, abs=0.05) and -2 <= low < -1.9 and 3.9 < high <= 4
    mean, std, *_ = stats(init.normal_, 3, 2)
    assert mean == pytest.approx(3, abs=0.06) and std == pytest.approx(2, rel=0.02)
    assert stats(init.constant_, 7)[:2] == (7, 0) and stats(init.ones_)[0] == 1 and stats(init.zeros_)[0] == 0
    assert stats(init.xavier_uniform_)[3] == pytest.approx(math.sqrt(6 / 300), rel=0.01)
    assert stats(init.xavier_normal_, 2)[1] == pytest.approx(2 * math.sqrt(2 / 300), rel=0.03)
    assert stats(init.kaiming_uniform_, nonlinearity="relu")[3] == pytest.approx(math.sqrt(6 / 100), rel=0.01)
    assert stats(init.kaiming_normal_, mode="fan_out", nonlinearity="relu")[1] == pytest.approx(
        math.sqrt(2 / 200), rel=0.03
    )
    mean, std, low, high = stats(init.trunc_normal_, 0, 1, -1, 1)
    assert -1 <= low < -0.99 and 0.99 < high <= 1 and std == pytest.approx(0.5396, rel=0.02)
    init.orthogonal_(x, 2)
    np.testing.assert_allclose(x.numpy().T @ x.numpy(), 4 * np.eye(100), atol=1e-4)
    init.eye_(x)
    assert (x.numpy() == np.eye(200, 100)).all()
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        init.kaiming_uniform_(tg.empty((3,)))
    with pytest.raises(ValueError, match="unknown nonlinearity 'gelo'"):
        init.calculate_gain("gelo")
    assert init.calculate_gain("leaky_relu", 1) == 1 and init.calculate_gain("tanh") == 5 / 3


# ---- linear, embedding, shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(lead, bias):
    layer, x = nn.Linear(4, 3, bias=bias), rand(*lead, 4) if lead else rand(4)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy() if bias else 0
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, x @ w.T + b)
    g = rand(*lead, 3) if lead else rand(3)
    y.backward(t(g))
    close(xt.grad, g @ w)
    close(layer.weight.grad, g.reshape(-1, 3).T @ x.reshape(-1, 4))
    if bias:
        close(layer.bias.grad, g.reshape(-1, 3).sum(0))


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=1)
    i = np.array([[0, 1], [4, 4]])
    y = layer(t(i))
    close(y, layer.weight.detach().numpy()[i])
    y.sum().backward()
    close(layer.weight.grad, np.array([[1] * 3, [0] * 3, [0] * 3, [0] * 3, [2] * 3]))
    frozen = nn.Embedding.from_pretrained(t(rand(4, 2)))
    assert not frozen.weight.requires_grad and frozen(t([3])).shape == (1, 2)
    with pytest.raises(ValueError, match="padding_idx 7 is outside a table of 5 rows"):
        nn.Embedding(5, 3, padding_idx=7)


def test_flatten_unflatten():
    x = t(rand(2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60) and nn.Flatten(0, -2)(x).shape == (24, 5)
    assert nn.Unflatten(1, (3, -1))(nn.Flatten()(x)).shape == (2, 3, 20)
    assert F.flatten(x).shape == (120,) and F.flatten(t(np.float32(3))).shape == (1,)
    with pytest.raises(ValueError, match="do not fit shape"):
        F.flatten(x, 3, 1)


def test_one_hot_and_pad():
    assert F.one_hot(t([0, 2]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]
    x = rand(2, 3)
    close(F.pad(t(x), (1, 2)), np.pad(x, [(0, 0), (1, 2)]))
    close(F.pad(t(x), (0, 1, 2, 0), value=7.0), np.pad(x, [(2, 0), (0, 1)], constant_values=7))


# ---- convolution and pooling -----------------------------------------------------------------------------------------


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


# ---- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls, shape",
    [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (4, 3, 5)),
        (nn.BatchNorm2d, (4, 3, 5, 2)),
        (nn.BatchNorm3d, (2, 3, 2, 3, 2)),
    ],
)
def test_batch_norm(cls, shape):
    layer, x = cls(3), rand(*shape) * 2 + 1
    with tg.no_grad():
        layer.weight.copy_(t([1.0, 2.0, -0.5]).to(tg.float32))
        layer.bias.copy_(t([0.0, 1.0, 2.0]).to(tg.float32))
    axes = (0, *range(2, len(shape)))
    view = (3, *[1] * (len(shape) - 2))
    mean, var = x.mean(axes), x.var(axes)
    w, b = layer.weight.detach().numpy().reshape(view), layer.bias.detach().numpy().reshape(view)
    norm = (x - mean.reshape(view)) / np.sqrt(var.reshape(view) + 1e-5)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, norm * w + b, 1e-4)
    n = x.size // 3
    close(layer.running_mean, 0.1 * mean)
    close(layer.running_var, 0.9 + 0.1 * var * n / (n - 1))
    assert layer.num_batches_tracked.item() == 1
    g = rand(*shape)
    y.backward(t(g))
    close(layer.bias.grad, g.sum(axes), 1e-4)
    close(layer.weight.grad, (g * norm).sum(axes), 1e-4)
    gn = g * w
    mean_of = lambda a: a.mean(axes).reshape(view)
    close(xt.grad, (gn - mean_of(gn) - norm * mean_of(gn * norm)) / np.sqrt(var.reshape(view) + 1e-5), 1e-4)
    layer.eval()
    rm, rv = layer.running_mean.numpy().reshape(view), layer.running_var.numpy().reshape(view)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, (x - rm) / np.sqrt(rv + 1e-5) * w + b, 1e-4)
    y.sum().backward()
    close(xt.grad, np.broadcast_to(w / np.sqrt(rv + 1e-5), shape), 1e-4)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_options():
    x = rand(8, 3)
    plain = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert list(plain.parameters()) == [] and list(plain.state_dict()) == []
    close(plain.eval()(t(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-4)
    average = nn.BatchNorm1d(3, momentum=None)
    average(t(x))
    average(t(x + 1))
    close(average.running_mean, x.mean(0) + 0.5)
    with pytest.raises(ValueError, match="more than one value per channel"):
        nn.BatchNorm1d(3)(t(rand(1, 3)))
    with pytest.raises(ValueError, match=r"\[BatchNorm2d\] expected 4 dimensions"):
        nn.BatchNorm2d(3)(t(x))


@pytest.mark.parametrize("shape, inner", [((4, 6), (6,)), ((2, 3, 4), (3, 4)), ((2, 5, 8), (8,))])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(shape, inner, bias):
    layer, x = nn.LayerNorm(inner if len(inner) > 1 else inner[0], bias=bias), rand(*shape)
    with tg.no_grad():
        layer.weight.copy_(t(rand(*inner)))
    axes = tuple(range(-len(inner), 0))
    w = layer.weight.detach().numpy()
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    norm = (x - x.mean(axes, keepdims=True)) * rstd
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, norm * w, 1e-4)
    g = rand(*shape)
    y.backward(t(g))
    gn = g * w
    close(xt.grad, (gn - gn.mean(axes, keepdims=True) - norm * (gn * norm).mean(axes, keepdims=True)) * rstd, 1e-4)
    lead = tuple(range(len(shape) - len(inner)))
    close(layer.weight.grad, (g * norm).sum(lead), 1e-4)
    assert (layer.bias is not None) == bias
    with pytest.raises(ValueError, match=r"expected the last axes to be \(7,\)"):
        nn.LayerNorm(7)(t(x))


def test_rms_and_group_norm():
    x = rand(3, 4, 5)
    close(nn.RMSNorm(5, eps=1e-6)(t(x)), x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6), 1e-4)
    layer = nn.GroupNorm(2, 4)
    with tg.no_grad():
        layer.weight.copy_(t(rand(4)))
        layer.bias.copy_(t(rand(4)))
    g = x.reshape(3, 2, -1)
    norm = ((g - g.mean(-1, keepdims=True)) / np.sqrt(g.var(-1, keepdims=True) + 1e-5)).reshape(x.shape)
    w, b = (p.detach().numpy().reshape(4, 1) for p in (layer.weight, layer.bias))
    close(layer(t(x)), norm * w + b, 1e-4)
    with pytest.raises(ValueError, match="num_groups = 3 must divide num_channels = 4"):
        nn.GroupNorm(3, 4)
    close(F.normalize(t(x), dim=2), x / np.sqrt((x * x).sum(2, keepdims=True)))


# ---- activations -----------------------------------------------------------------------------------------------------

erf = np.vectorize(math.erf)


def np_softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("layer, formula", [
    (nn.ReLU(), lambda x: np.maximum(x, 0)), (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.GELU(), lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    (nn.GELU("tanh"), lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))), (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))), (nn.Tanh(), np.tanh),
    (nn.Softmax(1), lambda x: np_softmax(x, 1)), (nn.LogSoftmax(0), lambda x: np.log(np_softmax(x, 0))),
    (F.softplus, lambda x: np.log1p(np.exp(x)))], ids=lambda v: repr(v)[:20])
def test_activations(layer, formula):
    x = rand(4, 5) * 2
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, formula(x.astype(np.float64)), 1e-5)
    g, d, h = rand(4, 5), rand(4, 5).astype(np.float64), 1e-5
    y.backward(t(g))
    slope = (g * (formula(x + h * d) - formula(x - h * d)) / (2 * h)).sum()
    assert (xt.grad.numpy() * d).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_inplace_activations():
    for f, want in [(F.relu, [0, 2]), (F.leaky_relu, [-0.01, 2])]:
        x = t(np.array([-1, 2], np.float32))
        assert f(x, inplace=True) is x
        close(x, want)
    with pytest.raises(ValueError, match="along which axis"):
        nn.Softmax()(t(rand(2)))


def test_dropout():
    tg.manual_seed(0)
    layer, x = nn.Dropout(0.25), t(np.ones((200, 100), np.float32), grad=True)
    y = layer(x)
    values = y.detach().numpy()
    np.testing.assert_allclose(np.unique(values), [0, 4 / 3], rtol=1e-6)
    assert (values == 0).mean() == pytest.approx(0.25, abs=0.01)
    y.sum().backward()
    close(x.grad, values)
    assert not (layer(x).detach().numpy() == values).all()
    tg.manual_seed(0)
    assert (layer(x).detach().numpy() == values).all()
    assert layer.eval()(x) is x and nn.Dropout(0)(x) is x
    assert (nn.Dropout(1.0)(x).detach().numpy() == 0).all()
    with pytest.raises(ValueError, match="p between 0 and 1, got 1.5"):
        nn.Dropout(1.5)


@pytest.mark.parametrize("causal, mask", [(False, None), (True, None), (False, "bool"), (False, "add"), (True, "bool")])
def test_attention(causal, mask):
    q, k, v = rand(2, 3, 4, 8), rand(2, 3, 5, 8), rand(2, 3, 5, 6)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(8)
    m = None
    if mask == "bool":
        m = RNG.rand(4, 5) < 0.7
        m[:, 0] = True
        scores = np.where(m, scores, -np.inf)
    elif mask == "add":
        m = rand(4, 5)
        scores = scores + m
    if causal:
        scores = np.where(np.tril(np.ones((4, 5), bool)), scores, -np.inf)
    got = F.scaled_dot_product_attention(t(q), t(k), t(v), None if m is None else t(m), is_causal=causal)
    close(got, np_softmax(scores, -1) @ v, 1e-5)


# ---- losses ----------------------------------------------------------------------------------------------------------


def np_cross_entropy(x, y, w, ignore, reduction, smooth):
    """By the book, element by element, in f64."""
    x = np.moveaxis(x.astype(np.float64), 1, -1)
    log_p = np.log(np_softmax(x, -1))
    c = x.shape[-1]
    w = np.ones(c) if w is None else w
    out, weights = np.zeros(y.shape), np.zeros(y.shape)
    for at in np.ndindex(*y.shape):
        if y[at] != ignore:
            out[at] = -(1 - smooth) * w[y[at]] * log_p[at][y[at]] - smooth / c * (w * log_p[at]).sum()
            weights[at] = w[y[at]]
    return out if reduction == "none" else out.sum() / (weights.sum() if reduction == "mean" else 1)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_cross_entropy(shape, weighted, reduction, smooth, ignore):
    x = rand(*shape) * 3
    y = RNG.randint(0, shape[1], (shape[0], *shape[2:]))
    y.flat[0] = ignore
    w = RNG.rand(shape[1]).astype(np.float32) + 0.5 if weighted else None
    layer = nn.CrossEntropyLoss(None if w is None else t(w), ignore, reduction, smooth)
    xt = t(x, grad=True)
    loss = layer(xt, t(y))
    close(loss, np_cross_entropy(x, y, w, ignore, reduction, smooth), 1e-5)
    if reduction != "none":
        d, h = rand(*shape).astype(np.float64), 1e-5
        f = lambda z: np_cross_entropy(z, y, w, ignore, reduction, smooth)
        # f reads f64, so the difference quotient is good to eight digits
        slope = (f(x.astype(np.float64) + h * d) - f(x.astype(np.float64) - h * d)) / (2 * h)
        loss.backward()
        assert (xt.grad.numpy() * d).sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_cross_entropy_of_probabilities_and_single_items():
    x, p = rand(5, 3), np_softmax(rand(5, 3), 1)
    log_p = np.log(np_softmax(x, 1))
    close(F.cross_entropy(t(x), t(p)), -(p * log_p).sum(1).mean())
    close(F.cross_entropy(t(x), t(p), reduction="none"), -(p * log_p).sum(1))
    s = p * 0.9 + 0.1 / 3
    close(F.cross_entropy(t(x), t(p), label_smoothing=0.1, reduction="sum"), -(s * log_p).sum())
    close(F.cross_entropy(t(x[0]), t(2)), -log_p[0, 2])
    close(F.nll_loss(t(log_p), t([0, 1, 2, 0, 1])), -log_p[range(5), [0, 1, 2, 0, 1]].mean())
    big = t(np.array([[1e4, -1e4]], np.float32))
    assert F.cross_entropy(big, t([1])).item() == 2e4
    with pytest.raises(ValueError, match=r"expected targets of shape \(5,\)"):
        F.cross_entropy(t(x), t([1, 2]))
    with pytest.raises(ValueError, match="reduction to be 'mean', 'sum' or 'none', got 'avg'"):
        nn.CrossEntropyLoss(reduction="avg")


def test_other_losses():
    x, y = rand(4, 3), rand(4, 3)
    for reduction, reduce in [("mean", np.mean), ("sum", np.sum), ("none", lambda a: a)]:
        close(nn.MSELoss(reduction)(t(x), t(y)), reduce((x - y) ** 2))
        close(nn.L1Loss(reduction)(t(x), t(y)), reduce(np.abs(x - y)))
        p, pw, w = (
            RNG.rand(4, 3).astype(np.float32),
            RNG.rand(3).astype(np.float32) + 0.5,
            RNG.rand(4, 3).astype(np.float32),
        )
        s = 1 / (1 + np.exp(-x))
        close(nn.BCEWithLogitsLoss(reduction=reduction)(t(x), t(p)), reduce(-(p * np.log(s) + (1 - p) * np.log(1 - s))))
        want = reduce(-w * (pw * p * np.log(s) + (1 - p) * np.log(1 - s)))
        close(nn.BCEWithLogitsLoss(t(w), reduction, t(pw))(t(x), t(p)), want)
    z = t(np.array([200.0, -200.0], np.float32), grad=True)
    loss = F.binary_cross_entropy_with_logits(z, t(np.array([0.0, 1.0], np.float32)), reduction="sum")
    assert loss.item() == 400
    loss.backward()
    assert z.grad.tolist() == [1, -1]
    with pytest.raises(ValueError, match=r"expected a target of x's shape \(4, 3\), got \(4, 1\)"):
        F.mse_loss(t(x), t(rand(4, 1)))


# ---- utils -----------------------------------------------------------------------------------------------------------


def test_clip_grad():
    a, b = nn.Parameter(tg.zeros((2,))), nn.Parameter(tg.zeros((1,)))
    unused = nn.Parameter(tg.zeros((1,)))

    def fill():
        a.grad, b.grad = t(np.array([3, 0], np.float32)), t(np.array([-4], np.float32))

    fill()
    assert nn.utils.clip_grad_norm_([a, b, unused], 1.0).item() == pytest.approx(5)
    close(a.grad, [0.6, 0], 1e-5)
    close(b.grad, [-0.8], 1e-5)
    fill()
    assert nn.utils.clip_grad_norm_([a, b], 10).item() == pytest.approx(5) and a.grad.tolist() == [3, 0]
    assert nn.utils.clip_grad_norm_([a, b], 2, math.inf).item() == 4
    close(b.grad, [-2], 1e-5)
    fill()
    nn.utils.clip_grad_value_([a, b], 3.5)
    assert a.grad.tolist() == [3, 0] and b.grad.tolist() == [-3.5]
    b.grad = t(np.array([np.nan], np.float32))
    with pytest.raises(RuntimeError, match="norm is nan"):
        nn.utils.clip_grad_norm_([a, b], 1, error_if_nonfinite=True)


def test_parameters_to_vector():
    net = nn.Linear(2, 3)
    v = nn.utils.parameters_to_vector(net.parameters())
    assert v.shape == (9,)
    nn.utils.vector_to_parameters(t(np.arange(9, dtype=np.float32)), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match="a vector of 9 elements"):
        nn.utils.vector_to_parameters(t(rand(8)), net.parameters())
