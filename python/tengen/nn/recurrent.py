# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers and cells; parameters named and laid out as PyTorch's."""
from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

import tengen as tg

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Parameters
    ----------
    mode : 'RNN', 'LSTM' or 'GRU'
    input_size, hidden_size : int
    num_layers : int
        Layers on top of each other.
    bias : bool
    batch_first : bool
        The input and output are [N, T, features] instead of [T, N, features] (states are not concerned).
    dropout : float
        Between layers, in training.
    bidirectional : bool
        Two networks, one from each end; their outputs stand side by side.
    proj_size : int
        LSTM only: size of the state after a projection; 0: none.

    Layer l's weights are weight_ih_l{l} [gates * hidden_size, inputs], weight_hh_l{l} [gates * hidden_size, state],
    bias_ih_l{l}, bias_hh_l{l}, weight_hr_l{l} [proj_size, hidden_size], those of the other direction end in `_reverse`.
    """

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        for name, value, least in (("input_size", input_size, 0), ("hidden_size", hidden_size, 1),
                                   ("num_layers", num_layers, 1), ("proj_size", proj_size, 0)):
            if not isinstance(value, int):
                raise TypeError(f"[{mode}] expected {name} to be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"[{mode}] expected {name} of at least {least}, got {value}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(f"[{mode}] expected dropout between 0 and 1, got {dropout!r}")
        if proj_size >= hidden_size:
            raise ValueError(f"[{mode}] expected proj_size below hidden_size {hidden_size}, got {proj_size}")
        if dropout and num_layers == 1:
            warnings.warn(f"[{mode}] dropout = {dropout} acts between layers, and there is one layer only", stacklevel=3)
        self.mode = mode
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        gates, state = _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else state * self._directions
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (gates, inputs), "weight_hh": (gates, state)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, Parameter(tg.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][:self._directions]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        return [[p for name, p in self._parameters.items() if name.endswith(suffix)]
                for layer in range(self.num_layers) for suffix in self._suffixes(layer)]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no layout that kernels would rather have. (PyTorch's models call it.)"""

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _scan(self, gates: Any, state: tuple, suffix: str, sizes: tuple, reverse: bool) -> tuple:
        raise NotImplementedError

    def _gate_bias(self, suffix: str) -> Any:
        return getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}") if self.bias else None

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(output, state): output [T, N, directions * state size]; the state [layers * directions, N, state size], of an
        LSTM a pair (h, c). All without N for an unbatched input, the output packed for a PackedSequence.

        Raises
        ------
        ValueError
            The input or the state does not have the right shape.
        """
        packed = isinstance(input, PackedSequence)
        if packed:
            data, sizes = input.data, tuple(input.batch_sizes.tolist())
            order, unbatched = input.sorted_indices, False
        else:
            if input.ndim not in (2, 3):
                raise ValueError(f"[{self.mode}] expected 3 dimensions (or 2, unbatched), got shape {tuple(input.shape)}")
            unbatched = input.ndim == 2
            x = input.unsqueeze(1) if unbatched else input.transpose(0, 1) if self.batch_first else input
            data, sizes, order = x.reshape((-1, x.shape[2])), (x.shape[1],) * x.shape[0], None
        if data.ndim != 2 or data.shape[1] != self.input_size:
            raise ValueError(f"[{self.mode}] expected {self.input_size} input features, got shape "
                             f"{tuple((data if packed else input).shape)}")
        if not sizes or not sizes[0]:
            raise ValueError(f"[{self.mode}] expected at least one step and one sequence, got shape {tuple(input.shape)}")
        states = self._initial(hx, data, sizes[0], order, unbatched)
        last = _last_rows(sizes, data.device)
        finals: list[tuple] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                place = layer * self._directions + direction
                gates = tg.linear(data, getattr(self, f"weight_ih{suffix}"), self._gate_bias(suffix))
                all_steps = self._scan(gates, tuple(s[place] for s in states), suffix, sizes, bool(direction))
                outputs.append(all_steps[0])
                finals.append(tuple(y[:sizes[0]] if direction else last(y) for y in all_steps))
            data = outputs[0] if len(outputs) == 1 else tg.cat(outputs, 1)
            if self.dropout and layer + 1 < self.num_layers:
                data = F.dropout(data, self.dropout, self.training)
        state = tuple(tg.stack(parts) for parts in zip(*finals))
        if packed:
            output = input._replace(data=data)
            if order is not None:
                state = tuple(tg.index_select(s, input.unsorted_indices, 1) for s in state)
        else:
            output = data.reshape((len(sizes), sizes[0], -1))
            output = output.squeeze(1) if unbatched else output.transpose(0, 1) if self.batch_first else output
            state = tuple(s.squeeze(1) for s in state) if unbatched else state
        return output, state if self.mode == "LSTM" else state[0]

    def _initial(self, hx: Any, data: Any, batch: int, order: Any, unbatched: bool) -> list[Any]:
        """The first states of all layers, [layers * directions, N, size] each, in the packed order."""
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.mode == "LSTM")
        shapes = [(self.num_layers * self._directions, batch, size) for size in sizes]
        if hx is None:
            return [tg.zeros(shape, dtype=data.dtype, device=data.device) for shape in shapes]
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        if len(given) != len(sizes):
            raise ValueError(f"[{self.mode}] expected a pair of states (h, c), got {len(given)}")
        out = []
        for s, shape in zip(given, shapes):
            want = (shape[0], shape[2]) if unbatched else shape
            if tuple(s.shape) != want:
                raise ValueError(f"[{self.mode}] expected an initial state of shape {want}, got {tuple(s.shape)}")
            s = s.unsqueeze(1) if unbatched else s
            out.append(s if order is None else tg.index_select(s, order, 1))
        return out

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
                    "bidirectional": False}
        return text + "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)


def _last_rows(sizes: tuple, device: Any) -> Any:
    """Takes every sequence's last row from packed rows."""
    batch = sizes[0]
    if sizes[-1] == batch:
        return lambda y: y[y.shape[0] - batch:]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    lengths = (np.arange(batch) < np.asarray(sizes)[:, None]).sum(0)
    rows = tg.tensor(starts[lengths - 1] + np.arange(batch), device=device)
    return lambda y: tg.index_select(y, rows, 0)


class RNN(RNNBase):
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or relu; arguments of RNNBase, and `nonlinearity`.

    >>> y, h = nn.RNN(4, 8, num_layers=2)(tg.zeros((5, 3, 4)))
    >>> y.shape, h.shape
    ((5, 3, 8), (2, 3, 8))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device: Any = None, dtype: Any = None) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"[RNN] expected nonlinearity to be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__("RNN", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _scan(self, gates: Any, state: tuple, suffix: str, sizes: tuple, reverse: bool) -> tuple:
        return (tg.rnn_scan(gates, *state, getattr(self, f"weight_hh{suffix}"), sizes, reverse, self.nonlinearity),)


class LSTM(RNNBase):
    """Long short-term memory; arguments of RNNBase. Gates in the order input, forget, cell, output.

    >>> y, (h, c) = nn.LSTM(4, 8, bidirectional=True, batch_first=True)(tg.zeros((3, 5, 4)))
    >>> y.shape, h.shape, c.shape
    ((3, 5, 16), (2, 3, 8), (2, 3, 8))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         proj_size, device, dtype)

    def _scan(self, gates: Any, state: tuple, suffix: str, sizes: tuple, reverse: bool) -> tuple:
        project = getattr(self, f"weight_hr{suffix}") if self.proj_size else None
        return tg.lstm_scan(gates, *state, getattr(self, f"weight_hh{suffix}"), project, sizes, reverse)


class GRU(RNNBase):
    """Gated recurrent units; arguments of RNNBase. Gates in the order reset, update, new."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         device=device, dtype=dtype)

    def _gate_bias(self, suffix: str) -> Any:
        return getattr(self, f"bias_ih{suffix}") if self.bias else None

    def _scan(self, gates: Any, state: tuple, suffix: str, sizes: tuple, reverse: bool) -> tuple:
        bias = getattr(self, f"bias_hh{suffix}") if self.bias else None
        return (tg.gru_scan(gates, *state, getattr(self, f"weight_hh{suffix}"), bias, sizes, reverse),)


# ---- one step --------------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """One step of a recurrent layer: weight_ih [gates * hidden_size, input_size], weight_hh, bias_ih, bias_hh."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        for name, shape in (("weight_ih", (gates, input_size)), ("weight_hh", (gates, hidden_size)),
                            ("bias_ih", (gates,)), ("bias_hh", (gates,))):
            made = Parameter(tg.empty(shape, device=device, dtype=dtype)) if bias or name[0] == "w" else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, gates: Any, state: tuple, sizes: tuple) -> Any:
        raise NotImplementedError

    def _run(self, input: Any, states: Any, count: int, bias: Any) -> Any:
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(f"[{name}] expected input of shape (N, {self.input_size}) or ({self.input_size},), got "
                             f"{tuple(input.shape)}")
        want = (*input.shape[:-1], self.hidden_size)
        states = (tg.zeros(want, dtype=input.dtype, device=input.device),) * count if states is None else states
        for s in states:
            if tuple(s.shape) != want:
                raise ValueError(f"[{name}] expected states of shape {want}, got {tuple(s.shape)}")
        if input.ndim == 1:
            input, states = input.unsqueeze(0), tuple(s.unsqueeze(0) for s in states)
        out = self._step(tg.linear(input, self.weight_ih, bias), states, (input.shape[0],))
        return tuple(o.reshape(want) for o in out)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or relu."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def _step(self, gates: Any, state: tuple, sizes: tuple) -> Any:
        return (tg.rnn_scan(gates, *state, self.weight_hh, sizes, nonlinearity=self.nonlinearity),)

    def forward(self, input: Any, hx: Any = None) -> Any:
        bias = self.bias_ih + self.bias_hh if self.bias else None
        return self._run(input, None if hx is None else (hx,), 1, bias)[0]


class LSTMCell(RNNCellBase):
    """(h', c') from x and (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def _step(self, gates: Any, state: tuple, sizes: tuple) -> Any:
        return tg.lstm_scan(gates, *state, self.weight_hh, None, sizes)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        return self._run(input, hx, 2, self.bias_ih + self.bias_hh if self.bias else None)


class GRUCell(RNNCellBase):
    """h' from x and h."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def _step(self, gates: Any, state: tuple, sizes: tuple) -> Any:
        return (tg.gru_scan(gates, *state, self.weight_hh, self.bias_hh, sizes),)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._run(input, None if hx is None else (hx,), 1, self.bias_ih)[0]
