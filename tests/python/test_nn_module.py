# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: the module protocol, hooks and containers."""
import copy
import pickle

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
from tengen import nn


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


def test_to_channels_last():
    """Weights of images change their layout, not their values, their identity or other weights."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    weight, values = net[0].weight, net[0].weight.detach().clone()
    net(tg.ones(2, 3, 3, 3)).sum().backward()
    assert net.to(memory_format=tg.channels_last) is net
    assert net[0].weight is weight and weight.is_contiguous(memory_format=tg.channels_last) and not weight.is_contiguous()
    assert weight.grad.is_contiguous(memory_format=tg.channels_last)
    assert weight.tolist() == values.tolist() and net[3].weight.is_contiguous()
    x = tg.rand(2, 3, 3, 3).to(memory_format=tg.channels_last)
    np.testing.assert_allclose(net(x).tolist(), net.to(memory_format=tg.contiguous_format)(x).tolist(), rtol=1e-5)
    assert weight.is_contiguous()
    with pytest.raises(ValueError, match=r"\[Module.to\] expected memory_format"):
        net.to(memory_format="nhwc")


def test_buffers_by_assignment():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.Buffer(tg.tensor([1.0, 2.0]))
            self.cache = nn.Buffer(tg.zeros(2), persistent=False)

    net = Net()
    assert dict(net.named_buffers()).keys() == {"steps", "cache"} and list(net.state_dict()) == ["steps"] and not list(net.parameters())
    assert not net.steps.requires_grad and isinstance(net.steps, nn.Buffer) and (net.steps + 1).tolist() == [2.0, 3.0]
    net.double()
    assert net.steps.dtype is tg.float64 and net.cache.dtype is tg.float64
    net.steps = tg.ones(2)
    assert net._buffers["steps"].tolist() == [1.0, 1.0]
    net.cache = None
    assert net._buffers["cache"] is None

    assert copy.deepcopy(Net()).steps.tolist() == [1.0, 2.0]
