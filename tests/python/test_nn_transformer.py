# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: multi-head attention and transformers against NumPy formulas."""
import itertools

import numpy as np
import pytest
from nn_tools import RNG, close, np_softmax, rand, t

import tengen as tg
from tengen import nn

L, S, N, E, HEADS = 4, 5, 3, 6, 2


def arrays(module):
    return {k: v.detach().numpy().astype(np.float64) for k, v in module.state_dict().items()}


def np_attention(w, q, k, v, heads, allowed=None, added=None, zero=False):
    """One item: q [L, E], k and v [S, ...]; `allowed` [heads, L, S] bools, `added` floats. (output, weights [heads, L, S])"""
    e = q.shape[1]
    if "in_proj_weight" in w:
        wq, wk, wv = np.split(w["in_proj_weight"], 3)
    else:
        wq, wk, wv = (w[f"{n}_proj_weight"] for n in "qkv")
    bq, bk, bv = np.split(w.get("in_proj_bias", np.zeros(3 * e)), 3)
    q, k, v = q @ wq.T + bq, k @ wk.T + bk, v @ wv.T + bv
    extra = 0
    if "bias_k" in w:
        k, v, extra = np.concatenate([k, w["bias_k"][0]]), np.concatenate([v, w["bias_v"][0]]), extra + 1
    if zero:
        k, v, extra = np.concatenate([k, np.zeros((1, e))]), np.concatenate([v, np.zeros((1, e))]), extra + 1
    d = e // heads
    outs, weights = [], []
    for h in range(heads):
        at = slice(h * d, (h + 1) * d)
        scores = q[:, at] @ k[:, at].T / np.sqrt(d)
        if added is not None:
            scores = scores + np.pad(added[h], ((0, 0), (0, extra)))
        if allowed is not None:
            scores = np.where(np.pad(allowed[h], ((0, 0), (0, extra)), constant_values=True), scores, -np.inf)
        weights.append(np_softmax(scores, -1))
        outs.append(weights[-1] @ v[:, at])
    return np.concatenate(outs, 1) @ w["out_proj.weight"].T + w.get("out_proj.bias", 0), np.array(weights)


def randomised(module):
    """With biases and scales that are not 0 or 1."""
    with tg.no_grad():
        for p in module.parameters():
            if p.ndim == 1:
                p.add_(t(rand(*p.shape)) * 0.3)
    return module


OPTIONS = [{}, {"bias": False}, {"kdim": 3, "vdim": 7}, {"kdim": 3, "vdim": 7, "bias": False}, {"add_bias_kv": True},
           {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5}]


@pytest.mark.parametrize("options", OPTIONS, ids=[" ".join(o) or "plain" for o in OPTIONS])
@pytest.mark.parametrize("mask", [None, "bool", "float", "heads"])
@pytest.mark.parametrize("padding", [None, "bool", "float"])
def test_attention(options, mask, padding):
    layer = randomised(nn.MultiheadAttention(E, HEADS, **options))
    w = arrays(layer)
    q, k, v = rand(L, N, E), rand(S, N, layer.kdim), rand(S, N, layer.vdim)
    attn_mask = {None: None, "bool": RNG.rand(L, S) > 0.6, "float": rand(L, S), "heads": RNG.rand(N * HEADS, L, S) > 0.6}[mask]
    key_mask = {None: None, "bool": np.arange(S) >= np.array([[5], [3], [4]]), "float": rand(N, S)}[padding]
    if attn_mask is not None and attn_mask.dtype == bool:
        attn_mask[..., 0] = False  # something to look at
    allowed, added = np.ones((N, HEADS, L, S), bool), np.zeros((N, HEADS, L, S))
    for m, shape in ((attn_mask, (N, HEADS, L, S) if mask == "heads" else (1, 1, L, S)), (key_mask, (N, 1, 1, S))):
        if m is not None and m.dtype == bool:
            allowed &= ~m.reshape(shape)
        elif m is not None:
            added = added + m.reshape(shape)
    masks = {"attn_mask": None if attn_mask is None else t(attn_mask),
             "key_padding_mask": None if key_mask is None else t(key_mask)}
    out, weights = layer(t(q), t(k), t(v), **masks)
    per_head = layer(t(q), t(k), t(v), average_attn_weights=False, **masks)[1]
    fused, none = layer(t(q), t(k), t(v), need_weights=False, **masks)
    assert none is None and out.shape == (L, N, E)
    for n in range(N):
        want, want_weights = np_attention(w, q[:, n], k[:, n], v[:, n], HEADS, allowed[n], added[n],
                                          options.get("add_zero_attn"))
        close(out[:, n], want)
        close(fused[:, n], want)
        close(weights[n], want_weights.mean(0))
        close(per_head[n], want_weights)


def test_attention_layouts():
    """Batch first, unbatched, and the same tensor as query, key and value."""
    layer = randomised(nn.MultiheadAttention(E, HEADS))
    first = nn.MultiheadAttention(E, HEADS, batch_first=True)
    first.load_state_dict(layer.state_dict())
    x, m = rand(L, N, E), rand(S, N, E)
    xt, mt = t(x), t(m)
    for args in ((xt, xt, xt), (xt, mt, mt), (xt, t(x), xt)):
        want, want_weights = (o.detach().numpy() for o in layer(*args))
        turned = {id(a): a.transpose(0, 1) for a in args}
        got, weights = first(*(turned[id(a)] for a in args))
        close(got.transpose(0, 1), want)
        close(weights, want_weights)
        one, one_weights = layer(*({id(a): a[:, 1] for a in args}[id(a)] for a in args))
        close(one, want[:, 1])
        close(one_weights, want_weights[1])
    padding = np.array([False, False, True, True])
    one, _ = layer(xt[:, 1], xt[:, 1], xt[:, 1], key_padding_mask=t(padding))
    many, _ = layer(xt, xt, xt, key_padding_mask=t(np.tile(padding, (N, 1))))
    close(one, many[:, 1].detach().numpy())


@pytest.mark.parametrize("weights, padded", list(itertools.product([False, True], [False, True])))
def test_attention_is_causal(weights, padded):
    layer, x = nn.MultiheadAttention(E, HEADS), t(rand(L, N, E))
    key_mask = t(np.arange(L) >= np.array([[4], [2], [3]])) if padded else None
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    assert mask.tolist() == [[0 if j <= i else -np.inf for j in range(L)] for i in range(L)]
    want = layer(x, x, x, key_padding_mask=key_mask, attn_mask=mask)[0].detach().numpy()
    close(layer(x, x, x, key_padding_mask=key_mask, need_weights=weights, is_causal=True)[0], want)
    close(layer(x, x, x, key_padding_mask=key_mask, need_weights=weights, attn_mask=mask, is_causal=True)[0], want)


def test_attention_gradients():
    """With and without weights the same function: the same gradients."""
    layer = randomised(nn.MultiheadAttention(E, HEADS, add_bias_kv=True)).double()
    x, m = rand(L, N, E).astype(np.float64), rand(S, N, E).astype(np.float64)
    grads = []
    for weights in (True, False):
        layer.zero_grad()
        xt, mt = t(x, grad=True), t(m, grad=True)
        (layer(xt, mt, mt, need_weights=weights)[0] * t(np.arange(L * N * E).reshape(L, N, E) / 10)).sum().backward()
        grads.append([g.numpy().copy() for g in (xt.grad, mt.grad, *(p.grad for p in layer.parameters()))])
    for a, b in zip(*grads):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        assert np.abs(a).max() > 0 or a.size == 0


def test_attention_dropout_and_initial_values():
    layer = nn.MultiheadAttention(E, HEADS, dropout=0.5)
    x = t(rand(40, N, E))
    dropped = layer(x, x, x)[1]
    assert abs((dropped == 0).float().mean().item() - 0.25) < 0.03  # the mean of two heads of 1/2 zeros; 4800 of them
    layer.eval()
    close(layer(x, x, x)[1].sum(-1), np.ones((N, 40)))
    bound = np.sqrt(6 / (E + 3 * E))
    assert layer.in_proj_weight.abs().max().item() <= bound and not layer.in_proj_bias.abs().max().item()
    assert list(layer.state_dict()) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    assert list(nn.MultiheadAttention(E, 1, kdim=3, add_bias_kv=True).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"]


def test_attention_errors():
    with pytest.raises(ValueError, match="multiple of num_heads"):
        nn.MultiheadAttention(5, 2)
    layer, x = nn.MultiheadAttention(E, HEADS), t(rand(L, N, E))
    with pytest.raises(ValueError, match=r"attn_mask of shape \(4, 4\) or \(6, 4, 4\)"):
        layer(x, x, x, attn_mask=tg.zeros((L, 3)))
    with pytest.raises(ValueError, match=r"key_padding_mask of shape \(3, 4\)"):
        layer(x, x, x, key_padding_mask=tg.zeros((L, N)))
    with pytest.raises(TypeError, match="bools or floats"):
        layer(x, x, x, attn_mask=tg.zeros((L, L), dtype=tg.int64))
    with pytest.raises(ValueError, match="3 dimensions"):
        layer(x, x[0], x[0])
    with pytest.raises(ValueError, match="value for every key"):
        layer(x, x, x[:2])


# ---- transformers ----------------------------------------------------------------------------------------------------


def np_norm(x, w, name, eps):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * w[f"{name}.weight"] + w.get(f"{name}.bias", 0)


def below(w, prefix):
    return {k[len(prefix) + 1:]: v for k, v in w.items() if k.startswith(prefix + ".")}


def np_layer(w, x, memory, norm_first, act, eps, causal=False):
    """An encoder layer (memory None) or a decoder layer, for one item [L, E]."""
    allowed = np.tile(np.tril(np.ones((len(x), len(x)), bool)), (HEADS, 1, 1)) if causal else None
    parts = [lambda v: np_attention(below(w, "self_attn"), v, v, v, HEADS, allowed)[0]]
    if memory is not None:
        parts.append(lambda v: np_attention(below(w, "multihead_attn"), v, memory, memory, HEADS)[0])
    parts.append(lambda v: act(v @ w["linear1.weight"].T + w.get("linear1.bias", 0)) @ w["linear2.weight"].T
                 + w.get("linear2.bias", 0))
    for i, part in enumerate(parts, 1):
        x = x + part(np_norm(x, w, f"norm{i}", eps)) if norm_first else np_norm(x + part(x), w, f"norm{i}", eps)
    return x


ACTIVATIONS = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh}


@pytest.mark.parametrize("norm_first, activation, bias", [(False, "relu", True), (True, "tanh", True), (False, "relu", False)])
@pytest.mark.parametrize("decoder", [False, True])
def test_layers(norm_first, activation, bias, decoder):
    cls = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
    layer = randomised(cls(E, HEADS, 10, activation=tg.tanh if activation == "tanh" else "relu", norm_first=norm_first,
                           bias=bias, layer_norm_eps=1e-3, batch_first=True)).eval()
    w, x, memory = arrays(layer), rand(N, L, E), rand(N, S, E)
    for causal in (False, True):
        got = layer(t(x), t(memory), tgt_is_causal=causal) if decoder else layer(t(x), is_causal=causal)
        for n in range(N):
            close(got[n], np_layer(w, x[n], memory[n] if decoder else None, norm_first, ACTIVATIONS[activation], 1e-3, causal))


def test_stacks_and_the_whole():
    net = randomised(nn.Transformer(E, HEADS, 2, 3, 8, batch_first=True, norm_first=True)).eval()
    src, tgt, w = rand(N, S, E), rand(N, L, E), arrays(net)
    got = net(t(src), t(tgt), tgt_is_causal=True)
    masked = net(t(src), t(tgt), tgt_mask=net.generate_square_subsequent_mask(L))
    for n in range(N):
        memory = src[n]
        for i in range(2):
            memory = np_layer(below(w, f"encoder.layers.{i}"), memory, None, True, ACTIVATIONS["relu"], 1e-5)
        memory = np_norm(memory, w, "encoder.norm", 1e-5)
        out = tgt[n]
        for i in range(3):
            out = np_layer(below(w, f"decoder.layers.{i}"), out, memory, True, ACTIVATIONS["relu"], 1e-5, True)
        close(got[n], np_norm(out, w, "decoder.norm", 1e-5), 1e-4)
        close(masked[n], np_norm(out, w, "decoder.norm", 1e-5), 1e-4)
    names = list(net.state_dict())
    assert len(names) == 2 * 12 + 3 * 18 + 4
    for name in ("encoder.layers.1.self_attn.in_proj_weight", "encoder.layers.0.linear1.bias", "encoder.norm.weight",
                 "decoder.layers.2.multihead_attn.out_proj.bias", "decoder.layers.0.norm3.weight", "decoder.norm.bias"):
        assert name in names


def test_padding_does_not_matter():
    """What key_padding_mask hides can be anything."""
    net = nn.Transformer(E, HEADS, 1, 1, 8, batch_first=True).eval()
    src, tgt = rand(N, S, E), rand(N, L, E)
    hidden = np.arange(S) >= np.array([[5], [3], [2]])
    masks = {"src_key_padding_mask": t(hidden), "memory_key_padding_mask": t(hidden)}
    want = net(t(src), t(tgt), **masks).detach().numpy()
    close(net(t(np.where(hidden[..., None], 100, src).astype(np.float32)), t(tgt), **masks), want)
    assert np.abs(net(t(src), t(tgt)).detach().numpy() - want).max() > 1e-3


def test_stack_copies_its_layer():
    layer = nn.TransformerEncoderLayer(E, HEADS, 8)
    stack = nn.TransformerEncoder(layer, 2)
    a, b = stack.layers
    assert a.linear1.weight is not b.linear1.weight and a.linear1.weight is not layer.linear1.weight
    np.testing.assert_array_equal(a.linear1.weight.detach().numpy(), b.linear1.weight.detach().numpy())
    with pytest.raises(ValueError, match="activation"):
        nn.TransformerEncoderLayer(E, HEADS, activation="swish")
    with pytest.raises(ValueError, match=r"\[Transformer\] expected tgt"):
        nn.Transformer(E, HEADS, 1, 1, 8)(t(rand(S, N, E)), t(rand(L, N, 5)))


def test_learns_to_reverse():
    """A sequence of digits backwards: positions have to be attended to."""
    tg.manual_seed(0)
    rng, steps, classes, width = np.random.RandomState(0), 4, 5, 32
    embed, where = nn.Embedding(classes, width), nn.Parameter(tg.randn((steps, width)))
    layer, head = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True), nn.Linear(width, classes)
    parameters = [where, *embed.parameters(), *layer.parameters(), *head.parameters()]
    optimizer = tg.optim.Adam(parameters, lr=0.005)
    for _ in range(120):
        x = rng.randint(0, classes, (32, steps))
        scores = head(layer(embed(t(x)) + where))
        loss = nn.functional.cross_entropy(scores.reshape((-1, classes)), t(x[:, ::-1].reshape(-1).copy()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_on_another_device(second_device):
    net = nn.Transformer(E, HEADS, 1, 1, 8).eval()
    src, tgt, mask = t(rand(S, N, E)), t(rand(L, N, E)), net.generate_square_subsequent_mask(L)
    want = net(src, tgt, tgt_mask=mask).detach().numpy()
    net.to(second_device)
    close(net(src.to(second_device), tgt.to(second_device), tgt_mask=mask.to(second_device)).cpu(), want)
    close(net(src.to(second_device), tgt.to(second_device), tgt_is_causal=True).cpu(), want)


def test_autocast():
    layer, x = nn.TransformerEncoderLayer(E, HEADS, 8, dropout=0.0), t(rand(L, N, E))
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    want = layer(x, src_mask=mask).detach().numpy()
    with tg.autocast("cpu", dtype=tg.bfloat16):
        got = layer(x, src_mask=mask)
        weights = layer.self_attn(x, x, x, attn_mask=mask)[1]
    close(got.float(), want, 0.05)
    close(weights.float().sum(-1), np.ones((N, L)), 0.02)
    got.float().sum().backward()
    assert all(p.grad.dtype == tg.float32 for p in layer.parameters())


@pytest.mark.parametrize("weights", [True, False])
def test_a_query_that_sees_nothing(weights):
    """Attention of 0 and no gradient, with weights and without."""
    layer, x = nn.MultiheadAttention(E, HEADS), t(rand(L, N, E), grad=True)
    nn.init.normal_(layer.out_proj.bias)
    hidden = np.zeros((N, L), bool)
    hidden[1] = True
    out, w = layer(x, x, x, key_padding_mask=t(hidden), need_weights=weights)
    close(out[:, 1], np.tile(layer.out_proj.bias.detach().numpy(), (L, 1)))
    if weights:
        assert not w[1].detach().numpy().any() and w[0].sum().item() > L - 0.01
    out.sum().backward()
    assert not x.grad[:, 1].numpy().any() and np.isfinite(x.grad.numpy()).all() and x.grad[:, 0].numpy().any()
