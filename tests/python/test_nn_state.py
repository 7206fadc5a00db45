# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: hooks of state dicts, extra state, parts by name, containers of parameters."""
import copy
import pickle

import numpy as np
import pytest
from nn_tools import rand, t

import tengen as tg
from tengen import nn


def tree():
    return nn.Sequential({"a": nn.Linear(2, 3), "b": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))})


def test_save_hooks():
    net, seen = tree(), []
    net.b.register_state_dict_pre_hook(lambda m, prefix, keep_vars: seen.append((m is net.b, prefix, keep_vars)))

    def after(module, state, prefix, metadata):
        seen.append((prefix, [k for k in state if k.startswith(prefix)]))
        state[prefix + "more"] = tg.zeros(1)

    handle = net.b.register_state_dict_post_hook(after)
    names = [k for k in tree().state_dict() if k.startswith("b.")]
    assert list(net.state_dict()) == ["a.weight", "a.bias", *names, "b.more"]
    assert seen == [(True, "b.", False), ("b.", names)]
    handle.remove()
    assert "b.more" not in net.state_dict(keep_vars=True)


def test_load_hooks():
    """The usual jobs: rename old keys before, forgive missing ones after."""
    net, state = tree(), tree().state_dict()
    old = {k.replace("b.0.", "b.old."): v for k, v in state.items() if k != "a.bias"}
    untouched = dict(old)

    def rename(module, state, prefix, metadata, strict, missing, unexpected, errors):
        assert module is net.b and prefix == "b." and strict
        for name in ("weight", "bias"):
            state[f"{prefix}0.{name}"] = state.pop(f"{prefix}old.{name}")

    net.b.register_load_state_dict_pre_hook(rename)
    with pytest.raises(RuntimeError, match="missing: a.bias$"):
        net.load_state_dict(old)
    assert old.keys() == untouched.keys()  # the hook works on a copy
    order = []
    net.a.register_load_state_dict_post_hook(lambda m, keys: order.append("a"))
    net.register_load_state_dict_post_hook(lambda m, keys: (order.append("net"), keys.missing_keys.clear()))
    assert net.load_state_dict(old) == ([], [])
    assert order == ["a", "net"]
    np.testing.assert_array_equal(net.b[0].weight.detach().numpy(), state["b.0.weight"].numpy())

    def refuse(module, state, prefix, metadata, strict, missing, unexpected, errors):
        errors.append("too old")

    net.register_load_state_dict_pre_hook(refuse)
    with pytest.raises(RuntimeError, match="too old"):
        net.load_state_dict(old)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tg.ones(1))
        self.seen = 0

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def test_extra_state():
    net, other = nn.Sequential(Counting(), nn.Linear(1, 1)), nn.Sequential(Counting(), nn.Linear(1, 1))
    net[0].seen = 5
    state = net.state_dict()
    assert list(state)[:2] == ["0.scale", "0._extra_state"]
    other.load_state_dict(state)
    assert other[0].seen == 5
    del state["0._extra_state"]
    with pytest.raises(RuntimeError, match="missing: 0._extra_state"):
        other.load_state_dict(state)
    with pytest.raises(RuntimeError, match="unexpected: _extra_state"):
        nn.Linear(1, 1).load_state_dict({**nn.Linear(1, 1).state_dict(), "_extra_state": 1})
    with pytest.raises(RuntimeError, match="override"):
        nn.Linear(1, 1).get_extra_state()


def test_parts_by_name():
    net = tree()
    new = nn.Linear(3, 7)
    net.set_submodule("b.0", new)
    assert net.get_submodule("b.0") is new and net.b[0] is new and net.get_submodule("") is net
    assert net.get_parameter("b.0.weight") is new.weight and net.get_buffer("b.1.running_mean") is net.b[1].running_mean
    for bad, error in (("b.x.y", AttributeError), ("", ValueError)):
        with pytest.raises(error):
            net.set_submodule(bad, new)
    for call in (net.get_submodule, net.get_parameter, net.get_buffer):
        with pytest.raises(AttributeError, match="b.9"):
            call("b.9")
    net.register_module("c", nn.ReLU())
    assert [n for n, _ in net.named_children()] == ["a", "b", "c"]


def test_to_empty_and_type():
    net = tree()
    before = net.a.weight
    assert net.type(tg.float64).a.weight.dtype == tg.float64
    assert net.to_empty(device="cpu").a.weight is before and net.a.weight.shape == (3, 2)
    assert net.half().b[1].running_var.dtype == tg.float16 and net.b[1].num_batches_tracked.dtype == tg.int64
    assert net.bfloat16().a.bias.dtype == tg.bfloat16


def test_parameter_dict():
    d = nn.ParameterDict({"w": tg.ones(2), "v": nn.Parameter(tg.zeros(3), requires_grad=False)})
    d["u"] = t(rand(2, 2))
    assert list(d) == ["w", "v", "u"] == list(d.keys()) and len(d) == 3 and "w" in d and "x" not in d
    assert all(isinstance(p, nn.Parameter) for p in d.values()) and d.get("x") is None
    assert list(d.state_dict()) == ["w", "v", "u"] and d.u is d["u"]
    taken = d.pop("v")
    assert not taken.requires_grad and [n for n, _ in d.named_parameters()] == ["w", "u"]
    with pytest.raises(KeyError):
        del d["v"]
    assert repr(d) == ("ParameterDict(\n  (w): Parameter containing: [tengen.float32 of size 2]\n"
                       "  (u): Parameter containing: [tengen.float32 of size 2x2]\n)")
    for twin in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        assert list(twin) == ["w", "u"] and twin.w is twin["w"] and twin.w is not d.w
    d.update([("a", tg.ones(1))])
    d.clear()
    assert not list(d.parameters())


def test_sequential_arithmetic():
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)
    assert list(nn.Sequential(a, b) + nn.Sequential(c)) == [a, b, c]
    assert list(nn.Sequential(a, b) * 2) == [a, b, a, b] == list(2 * nn.Sequential(a, b))
    assert len(list((nn.Sequential(a, b) * 3).parameters())) == 2
    with pytest.raises(ValueError, match="at least once"):
        nn.Sequential(a) * 0
    s = nn.Sequential(a)
    s += [b, c]
    assert list(s) == [a, b, c] and list(reversed(s)) == [c, b, a]
    assert list(s.insert(1, nn.Tanh()))[2] is b and s.pop(1) is not b and list(s[1:]) == [b, c]
    assert isinstance(s[1:], nn.Sequential) and s.append(nn.Tanh()) is s and len(s.extend([a, b])) == 6
    del s[3:]
    assert list(s) == [a, b, c] and s[-1] is c
    s[-1] = b
    assert s[2] is b


def test_deepcopy_keeps_every_gradient():
    net = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 3), nn.Linear(3, 5))
    for i, p in enumerate(net.parameters()):
        p.grad = tg.full(p.shape, float(i))
    for i, (p, q) in enumerate(zip(net.parameters(), copy.deepcopy(net).parameters())):
        assert q.grad is not p.grad and q.grad.shape == p.shape and (q.grad == i).all()
