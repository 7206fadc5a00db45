# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: recurrent layers against a NumPy loop over PyTorch's documented formulas; packed sequences."""
import itertools

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
from tengen import nn
from tengen.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def np_step(mode, x, h, c, w):
    """One step of one sequence, w the layer's parameters by PyTorch's names without suffix."""
    gx, gh = w["weight_ih"] @ x + w.get("bias_ih", 0), w["weight_hh"] @ h + w.get("bias_hh", 0)
    if mode == "LSTM":
        i, f, g, o = np.split(gx + gh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (w["weight_hr"] @ h if "weight_hr" in w else h), c
    if mode == "GRU":
        (xr, xz, xn), (hr, hz, hn) = np.split(gx, 3), np.split(gh, 3)
        z = sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h, c
    return (np.tanh if mode == "tanh" else lambda v: np.maximum(v, 0))(gx + gh), c


def np_run(mode, layer, x, h0, c0):
    """All layers and directions for one sequence x [T, I]; h0, c0 [layers * directions, ...]."""
    state = {k: v.detach().numpy().astype(np.float64) for k, v in layer.state_dict().items()}
    hs, cs, k = [], [], 0
    for number in range(layer.num_layers):
        sides = []
        for suffix in ("", "_reverse")[: 1 + layer.bidirectional]:
            end = f"_l{number}{suffix}"
            w = {name[: -len(end)]: v for name, v in state.items() if name.endswith(end)}
            h, c, out = h0[k], c0[k], []
            for row in x[::-1] if suffix else x:
                h, c = np_step(mode, row, h, c, w)
                out.append(h)
            sides.append(np.array(out[::-1] if suffix else out))
            hs.append(h)
            cs.append(c)
            k += 1
        x = np.concatenate(sides, 1)
    return x, np.array(hs), np.array(cs)


MODES = [("LSTM", nn.LSTM, {}), ("LSTM", nn.LSTM, {"proj_size": 2}), ("GRU", nn.GRU, {}), ("tanh", nn.RNN, {}),
         ("relu", nn.RNN, {"nonlinearity": "relu"})]
T, N, IN, HIDDEN = 5, 3, 4, 3
modes = pytest.mark.parametrize("mode, cls, options", MODES, ids=[m[0] + "-proj" * bool(m[2].get("proj_size")) for m in MODES])


def states(layer, batch):
    k = layer.num_layers * (1 + layer.bidirectional)
    return rand(k, batch, layer.proj_size or HIDDEN), rand(k, batch, HIDDEN)


def given(mode, h0, c0):
    return (t(h0), t(c0)) if mode == "LSTM" else t(h0)


@modes
@pytest.mark.parametrize("layers, bidirectional, bias, batch_first",
                         [(1, False, True, False), (2, True, True, True), (3, False, False, False), (1, True, False, True)])
def test_layers(mode, cls, options, layers, bidirectional, bias, batch_first):
    layer = cls(IN, HIDDEN, layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first, **options)
    x = rand(T, N, IN)
    for start in (True, False):
        h0, c0 = states(layer, N)
        if not start:
            h0, c0 = np.zeros_like(h0), np.zeros_like(c0)
        y, state = layer(t(x.swapaxes(0, 1).copy() if batch_first else x), given(mode, h0, c0) if start else None)
        h, c = state if mode == "LSTM" else (state, None)
        for n in range(N):
            want, want_h, want_c = np_run(mode, layer, x[:, n], h0[:, n], c0[:, n])
            close(y[n] if batch_first else y[:, n], want)
            close(h[:, n], want_h)
            if c is not None:
                close(c[:, n], want_c)
    one, _ = layer(t(x[:, 0].copy()), given(mode, h0[:, 0].copy(), c0[:, 0].copy()))
    close(one, np_run(mode, layer, x[:, 0], h0[:, 0], c0[:, 0])[0])


@modes
@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [2, 5, 1, 4]])
def test_packed(mode, cls, options, lengths):
    """Each sequence as if it were alone, outputs, last states and gradients."""
    layer = cls(IN, HIDDEN, 2, bidirectional=True, **options)
    x = rand(T, len(lengths), IN)
    h0, c0 = states(layer, len(lengths))
    xt = t(x, grad=True)
    packed = pack_padded_sequence(xt, lengths, enforce_sorted=lengths[0] == 5)
    y, state = layer(packed, given(mode, h0, c0))
    assert isinstance(y, PackedSequence)
    out, sizes = pad_packed_sequence(y)
    assert sizes.tolist() == lengths
    h, c = state if mode == "LSTM" else (state, None)
    for n, length in enumerate(lengths):
        want, want_h, want_c = np_run(mode, layer, x[:length, n], h0[:, n], c0[:, n])
        close(out[:length, n], want)
        assert not out[length:, n].detach().numpy().any()
        close(h[:, n], want_h)
        if c is not None:
            close(c[:, n], want_c)
    (out.sum() + h.sum()).backward()
    packed_grads = [p.grad.numpy().copy() for p in layer.parameters()]
    layer.zero_grad()
    for n, length in enumerate(lengths):
        alone = t(x[:length, n:n + 1].copy(), grad=True)
        y, state = layer(alone, given(mode, h0[:, n:n + 1].copy(), c0[:, n:n + 1].copy()))
        (y.sum() + (state[0] if mode == "LSTM" else state).sum()).backward()
        close(xt.grad[:length, n], alone.grad.numpy()[:, 0])
        assert not xt.grad[length:, n].numpy().any()
    for p, want in zip(layer.parameters(), packed_grads):
        close(p.grad, want, 1e-4)


@pytest.mark.parametrize("mode, cls, options", [("LSTM", nn.LSTMCell, {}), ("GRU", nn.GRUCell, {}), ("tanh", nn.RNNCell, {}),
                                                ("relu", nn.RNNCell, {"nonlinearity": "relu"})])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(mode, cls, options, bias):
    cell, x, h, c = cls(IN, HIDDEN, bias, **options), rand(N, IN), rand(N, HIDDEN), rand(N, HIDDEN)
    w = {k: v.numpy() for k, v in cell.state_dict().items()}
    assert set(w) == {"weight_ih", "weight_hh"} | ({"bias_ih", "bias_hh"} if bias else set())
    got = cell(t(x), given(mode, h, c))
    alone = cell(t(x[0]), given(mode, h[0], c[0]))
    for n in range(N):
        want = np_step(mode, x[n], h[n], c[n], w)
        for k, value in enumerate(got if mode == "LSTM" else [got]):
            close(value[n], want[k])
    close(alone[0] if mode == "LSTM" else alone, (got[0] if mode == "LSTM" else got)[0].detach().numpy())
    zero = cell(t(x))
    close(zero[0] if mode == "LSTM" else zero,
          [np_step(mode, row, np.zeros(HIDDEN), np.zeros(HIDDEN), w)[0] for row in x])


def test_names_and_shapes_are_pytorchs():
    layer = nn.LSTM(4, 3, num_layers=2, bidirectional=True, proj_size=2)
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        f"{name}_l{number}{side}": shape
        for number, side in itertools.product((0, 1), ("", "_reverse"))
        for name, shape in {
            "weight_ih": (12, 4), "weight_hh": (12, 2), "bias_ih": (12,), "bias_hh": (12,), "weight_hr": (2, 3),
        }.items()
    }
    assert list(nn.GRU(4, 3).state_dict()) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert repr(layer) == "LSTM(4, 3, proj_size=2, num_layers=2, bidirectional=True)"
    assert repr(nn.GRUCell(4, 3, bias=False)) == "GRUCell(4, 3, bias=False)"
    bound = 1 / np.sqrt(16)
    for p in nn.GRU(64, 16).parameters():
        assert 0.9 * bound < p.abs().max().item() <= bound


def test_dropout_between_layers():
    tg.manual_seed(3)
    layer = nn.GRU(4, 8, num_layers=2, dropout=0.5)
    x = t(rand(6, 2, 4))
    a, b = layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy()
    assert not np.array_equal(a, b)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match="one layer only"):
        nn.GRU(4, 8, dropout=0.5)


def test_learns_to_remember():
    """The first of five inputs is what counts: only a state can carry it."""
    tg.manual_seed(0)
    net, head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    optimizer = tg.optim.Adam([*net.parameters(), *head.parameters()], lr=0.02)
    rng = np.random.RandomState(0)
    for _ in range(150):
        x = rng.choice([-1.0, 1.0], (32, 5, 1)).astype(np.float32)
        loss = ((head(net(t(x))[1][0][-1]) - t(x[:, 0])) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_low_precision_and_double():
    for dtype, tol in ((tg.bfloat16, 0.05), (tg.float64, 1e-12)):
        layer = nn.LSTM(IN, HIDDEN, 2).to(dtype=dtype)
        x = rand(T, 1, IN)
        y, _ = layer(t(x).to(dtype))
        assert y.dtype == dtype
        state = layer.double()
        close(y.double(), np_run("LSTM", state, t(x).to(dtype).double().numpy()[:, 0], np.zeros((2, 3)), np.zeros((2, 3)))[0][:, None], tol)


def test_on_another_device(second_device):
    layer, x = nn.GRU(IN, HIDDEN, 2, bidirectional=True), rand(T, N, IN)
    want = layer(t(x))[0].detach().numpy()
    lengths = [5, 2, 4]
    packed = pack_padded_sequence(t(x), lengths, enforce_sorted=False)
    want_packed = pad_packed_sequence(layer(packed)[0])[0].detach().numpy()
    layer.to(second_device)
    close(layer(t(x).to(second_device))[0].cpu(), want)
    got, _ = pad_packed_sequence(layer(packed.to(second_device))[0])
    assert got.device == second_device
    close(got.cpu(), want_packed)


def test_errors():
    layer = nn.LSTM(4, 3)
    for x, hx, text in ((rand(5, 2, 3), None, "4 input features"), (rand(4), None, "3 dimensions"),
                        (rand(5, 2, 4), (t(rand(1, 3, 3)), t(rand(1, 2, 3))), r"shape \(1, 2, 3\)"),
                        (rand(5, 2, 4), (t(rand(1, 2, 3)),), "pair of states")):
        with pytest.raises(ValueError, match=rf"\[LSTM\].*{text}"):
            layer(t(x), hx)
    with pytest.raises(ValueError, match="at least one step"):
        layer(tg.zeros((0, 2, 4)))
    with pytest.raises(ValueError, match="proj_size below"):
        nn.LSTM(4, 3, proj_size=3)
    with pytest.raises(ValueError, match="nonlinearity"):
        nn.RNN(4, 3, nonlinearity="elu")
    with pytest.raises(TypeError, match="hidden_size"):
        nn.RNN(4, 3.0)
    with pytest.raises(ValueError, match=r"\[GRUCell\]"):
        nn.GRUCell(4, 3)(t(rand(2, 5)))


# ---- packing ---------------------------------------------------------------------------------------------------------


def test_pack_layout():
    """The example of PyTorch's documentation: step by step, longest first."""
    packed = pack_sequence([t([1, 2, 3]), t([4, 5]), t([6])])
    assert packed.data.tolist() == [1, 4, 6, 2, 5, 3] and packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices is None and packed.unsorted_indices is None
    other = pack_padded_sequence(t([[1, 2, 0], [3, 0, 0], [4, 5, 6]]), [2, 1, 3], batch_first=True, enforce_sorted=False)
    assert other.data.tolist() == [4, 1, 3, 5, 2, 6] and other.batch_sizes.tolist() == [3, 2, 1]
    assert other.sorted_indices.tolist() == [2, 0, 1] and other.unsorted_indices.tolist() == [1, 2, 0]
    padded, lengths = pad_packed_sequence(other, batch_first=True, padding_value=-1, total_length=4)
    assert padded.tolist() == [[1, 2, -1, -1], [3, -1, -1, -1], [4, 5, 6, -1]] and lengths.tolist() == [2, 1, 3]


def test_pack_round_trip():
    parts = [rand(n, 2) for n in (2, 5, 3)]
    for batch_first in (False, True):
        padded = pad_sequence([t(p) for p in parts], batch_first=batch_first, padding_value=7)
        assert padded.shape == ((3, 5, 2) if batch_first else (5, 3, 2))
        for got, want in zip(unpad_sequence(padded, [2, 5, 3], batch_first), parts):
            np.testing.assert_array_equal(got.numpy(), want)
    left = pad_sequence([t(p) for p in parts], batch_first=True, padding_side="left")
    np.testing.assert_array_equal(left[0].numpy(), np.concatenate([np.zeros((3, 2), np.float32), parts[0]]))
    for got, want in zip(unpack_sequence(pack_sequence([t(p) for p in parts], enforce_sorted=False)), parts):
        np.testing.assert_array_equal(got.numpy(), want)


def test_pack_errors():
    x = t(rand(5, 3, 2))
    for lengths, text in (([5, 0, 1], "from 1 to 5"), ([6, 1, 1], "from 1 to 5"), ([5, 1], "expected 3 lengths"),
                          ([1, 5, 2], "enforce_sorted=False")):
        with pytest.raises(ValueError, match=text):
            pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError, match="total_length of at least 5"):
        pad_packed_sequence(pack_padded_sequence(x, [5, 2, 1]), total_length=4)
    with pytest.raises(ValueError, match="at least one sequence"):
        pad_sequence([])
    with pytest.raises(ValueError, match="padding_side"):
        pad_sequence([x], padding_side="up")


def test_autocast():
    """All of a scan's operands take the low dtype, whatever the state's is."""
    x = rand(T, N, IN)
    for layer in (nn.LSTM(IN, HIDDEN, 2, bidirectional=True), nn.GRU(IN, HIDDEN), nn.RNN(IN, HIDDEN), nn.GRUCell(IN, HIDDEN)):
        given_x = t(x[0] if isinstance(layer, nn.GRUCell) else x)
        want = layer(given_x)
        with tg.autocast("cpu", dtype=tg.bfloat16):
            got = layer(given_x)
        if isinstance(got, tuple):
            got, want = got[0], want[0]
        assert got.dtype == tg.bfloat16
        close(got.float(), want.detach().numpy(), 0.05)
        got.float().sum().backward()
        assert all(p.grad.dtype == tg.float32 for p in layer.parameters())
