# SPDX-License-Identifier: Apache-2.0
"""tg.jit: a Python function of tensors, a whole training step too, as a static graph.

>>> @tg.jit
... def f(x):
...     return (x * 2 + 1).sum()
>>> f(tg.tensor([1.0, 2.0])).item()
8.0
>>> print(f.graph)
graph(%x: f32[2]) {
  %0: f32[2] = mul(%x, 2)
  %1: f32[2] = add(%0, 1)
  %2: f32[] = sum(%1)
  return %2
}
<BLANKLINE>
"""
from __future__ import annotations

import functools
import gc
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import tengen as tg

from . import _core, _tracing, _tree
from ._core import Tensor
from ._tracing import Outdated, set_tracing, tracing

__all__ = ["Jitted", "jit", "trace"]

LEVELS = ("O0", "O1", "O2")
_TENSOR = object()  # where a result is a tensor
_MOST = 8  # graphs of one signature that are kept: modes of modules, mostly


def _state_of(found: dict[int, tuple[str, Any]], name: str, value: Any) -> None:
    if isinstance(value, (tg.nn.Module, tg.optim.Optimizer)) and id(value) not in found:
        found[id(value)] = (name, value)


def _reached(f: Callable) -> list[tuple[str, Any]]:
    """Modules and optimizers that a function names: itself, its object, its closure, its globals."""
    found: dict[int, tuple[str, Any]] = {}
    _state_of(found, "", f)
    _state_of(found, "", getattr(f, "__self__", None))
    for name, value in vars(getattr(f, "__self__", None)).items() if hasattr(getattr(f, "__self__", None), "__dict__") else ():
        _state_of(found, name, value)
    inner = inspect.unwrap(f)
    if isinstance(inner, tg.nn.Module):
        return list(found.values())
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, inner.__closure__ or ()):
            try:
                _state_of(found, name, cell.cell_contents)
            except ValueError:  # not assigned yet
                continue
        for name in code.co_names:
            if name in inner.__globals__:
                _state_of(found, name, inner.__globals__[name])
    return list(found.values())


class _Tracing:
    """What a trace collects besides the graph: what the function touched that a later call must find as it was."""

    def __init__(self) -> None:
        self.trace = _core._Trace()
        self.hosts: list[Callable[[], tuple[float, ...]]] = []
        self.numbers: list[tuple[float, ...]] = []
        self.modules: dict[int, tg.nn.Module] = {}
        self.optimizers: dict[int, tuple[Any, dict, int]] = {}

    def host_call(self, numbers: Callable[[], tuple[float, ...]], now: tuple[float, ...]) -> None:
        """The next call of an op has `now` as its first attributes, and what `numbers()` gives in every later run.

        For what Python computes once per step, as an optimizer's learning rate and bias corrections.
        """
        self.trace.host_call()
        self.hosts.append(numbers)
        self.numbers.append(now)

    def saw_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to make a step: what it has now comes back if the trace fails."""
        if id(optimizer) not in self.optimizers:
            self.optimizers[id(optimizer)] = (optimizer, {p: dict(s) for p, s in optimizer.state.items()}, optimizer._generation)

    def undo(self) -> None:
        self.trace.restore_gradients()
        for optimizer, state, _ in self.optimizers.values():
            optimizer.state.clear()
            optimizer.state.update(state)


def _shape_of(module: Any) -> tuple:
    """What a module's call depends on, besides the values of its tensors."""
    own = module.__dict__
    return (own["training"], own["_hooked"] and (len(own["_forward_hooks"]), len(own["_forward_pre_hooks"])),
            *map(id, own["_parameters"].values()), *map(id, own["_buffers"].values()), *map(id, own["_modules"].values()),
            *((k, v) for k, v in own.items() if isinstance(v, (int, float, str, tuple)) and k != "training"))


class _Watch:
    """While it is entered, every module that is called is noted."""

    lock = threading.RLock()

    def __init__(self, state: _Tracing) -> None:
        self.state = state

    def __enter__(self) -> None:
        self.lock.acquire()
        self.original = original = tg.nn.Module.__call__
        modules = self.state.modules

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            modules[id(module)] = module
            return original(module, *args, **kwargs)

        tg.nn.Module.__call__ = call

    def __exit__(self, *args: object) -> None:
        tg.nn.Module.__call__ = self.original
        self.lock.release()


class _Specialised:
    """The graph for one signature."""

    def __init__(self, jitted: Jitted, leaves: list, tree: Any) -> None:
        started = time.perf_counter()
        self.level = jitted.level
        self.state = state = _Tracing()
        self.is_tensor = [isinstance(x, Tensor) for x in leaves]
        before = {}
        for name, owner in _reached(jitted._f):
            if isinstance(owner, tg.nn.Module):
                for module in owner.modules():
                    before[id(module)] = (module, dict(module._buffers))
                for path, p in [*owner.named_parameters(), *owner.named_buffers()]:
                    state.trace.name_state(p, f"{name}.{path}" if name else path)
        try:
            graph, n_outputs = self._traced(jitted, leaves, tree)
        except BaseException:
            state.undo()
            for module, buffers in before.values():
                for key, buffer in buffers.items():
                    if module._buffers.get(key) is not buffer:
                        module._buffers[key] = module.__dict__[key] = buffer
            raise
        trace = state.trace
        self.leaves = [(leaf, had) for leaf, had, dropped in trace.leaves() if not dropped]
        trace.restore_gradients()
        if trace.survivors():  # really, and not only until the garbage collector comes by
            gc.collect()
        self.makes_state = trace.survivors() > 0
        trace.keep_survivors()
        graph.verify()
        self.modules = [(m, _shape_of(m)) for m in state.modules.values()]
        self.changes = _tracing.module_changes[0]
        self.optimizers = [(o, o._generation) for o, _, _ in state.optimizers.values()]
        self.n_arguments = sum(self.is_tensor)
        self.hosts, self.first_numbers = state.hosts, [list(n) for n in state.numbers]
        self.saved = 0
        self.backward_graph = None
        if self.differentiated:
            graph, self.backward_graph, self.saved = graph.cut(self.boundary, self.n_arguments, n_outputs)
        self.n_outputs = n_outputs
        self.traced_graph = graph
        self.graph = graph if self.level == "O0" else _optimised(graph, self.level)
        self.program = _core._Program(self.graph, self.first_numbers, self.level != "O0")
        self.backward_program = None
        if self.backward_graph is not None:
            self.backward_graph.take_strides(self.program, self.n_outputs, self.saved)
            if self.level != "O0":
                self.backward_graph = _optimised(self.backward_graph, self.level)
            self.backward_program = _core._Program(self.backward_graph, [], self.level != "O0")
            self.backward_states = list(self.backward_graph.states.values())
        self.runs = 0
        self.seconds = time.perf_counter() - started

    def _traced(self, jitted: Jitted, leaves: list, tree: Any) -> tuple[Any, int]:
        trace = self.state.trace
        wants = tg.is_grad_enabled()
        names = jitted._names(leaves, tree)
        given = [trace.argument(n, x, wants and x.requires_grad) if t else x
                 for n, x, t in zip(names, leaves, self.is_tensor)]
        tensors = [x for x, t in zip(given, self.is_tensor) if t]
        set_tracing(self.state)
        try:
            with trace, _Watch(self.state):
                args, kwargs = _tree.unflatten(given, tree)
                result = jitted._f(*args, **kwargs)
                del args, kwargs
                results, self.out_tree = _tree.flatten(result)
                del result
                self.plain = [_TENSOR if isinstance(r, Tensor) else r for r in results]
                outputs = [r for r in results if isinstance(r, Tensor)]
                del results
                trace.see(outputs)
                self.boundary = trace.calls
                self.differentiated = [i for i, y in enumerate(outputs) if wants and y.requires_grad
                                       and not _core._backward_done(y)]
                grads, self.sources = [], []
                if self.differentiated:
                    grads = self._backward(trace, outputs, tensors)
                self.gradient_given = [g is not None for g in grads]
                return trace.finish([y.detach() for y in outputs] + [g for g in grads if g is not None]), len(outputs)
        finally:
            set_tracing(None)

    def _backward(self, trace: Any, outputs: list, tensors: list) -> list:
        """Gradients of the results, as part of the trace: `sources` are what they belong to."""
        roots = [outputs[i] for i in self.differentiated]
        seeds = [trace.argument(f"gradient{k}", y, False, contiguous=True) for k, y in enumerate(roots)]
        own = [(i, x) for i, x in enumerate(tensors) if x.requires_grad]
        states = [leaf for leaf, _, _ in trace.leaves() if leaf.requires_grad and not any(leaf is x for x in tensors)]
        grads = tg.autograd.grad(roots, [x for _, x in own] + states, seeds, allow_unused=True)
        self.sources = [i for i, _ in own] + states
        return list(grads)

    def fits(self) -> bool:
        """Whether what the function touched is as it was when it was traced: modules, optimizers, gradients, kinds of states."""
        if not (self.program.fits() and all((leaf.grad is not None) == had for leaf, had in self.leaves)
                and all(o._generation == g for o, g in self.optimizers)):
            return False
        changes = _tracing.module_changes[0]  # of any module; most calls find none
        if changes != self.changes and all(_shape_of(m) == shape for m, shape in self.modules):
            self.changes = changes
        return self.changes == changes

    def numbers(self) -> list:
        if self.runs == 1:
            return self.first_numbers
        before = [(o, {p: dict(s) for p, s in o.state.items()}) for o, _ in self.optimizers]
        try:
            return [list(map(float, f())) for f in self.hosts]
        except Outdated:
            for optimizer, state in before:  # the step that was begun is not made
                for p, values in state.items():
                    optimizer.state[p] = values
            raise

    def __call__(self, leaves: list) -> Any:
        self.runs += 1
        tensors = [x for x, t in zip(leaves, self.is_tensor) if t]
        try:
            if self.backward_program is None:
                outputs = self.program.run(tensors, self.numbers())
            else:
                sources = [tensors[s] if isinstance(s, int) else s for s in self.sources]
                outputs = _Joined.apply(self, tensors, *sources)
                outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
        except BaseException:
            if self.makes_state and self.state is not None:
                self.state.undo()
            raise
        self.state = None  # it holds gradients and optimizer states of before the trace
        it = iter(outputs)
        results = [next(it) if p is _TENSOR else p for p in self.plain]
        return _tree.unflatten(results, self.out_tree)


class _Joined(tg.autograd.Function):
    """A jitted forward pass in an eager graph: its gradient is the jitted backward pass."""

    @staticmethod
    def forward(ctx: Any, spec: _Specialised, tensors: list, *sources: Tensor) -> Any:
        given = [t.detach() for t in tensors]
        results = spec.program.run(given, spec.numbers())
        outputs, ctx.saved = results[: spec.n_outputs], results[spec.n_outputs :]
        ctx.versions = [t._version for t in (*ctx.saved, *spec.backward_states)]
        ctx.spec = spec
        ctx.mark_non_differentiable(*[y for i, y in enumerate(outputs) if i not in spec.differentiated])
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        spec = ctx.spec
        if tg.is_grad_enabled():  # create_graph
            raise RuntimeError("[jit] expected a backward pass without create_graph: gradients of a jitted function are first-order from outside; "
                               "take all of them inside the function")
        if [t._version for t in (*ctx.saved, *spec.backward_states)] != ctx.versions:
            raise RuntimeError("[jit] a tensor that the backward pass needs was changed in place since the jitted function ran: an argument, a "
                               "result or a parameter; clone it before the change")
        seeds = [grads[i].contiguous() for i in spec.differentiated]
        found = iter(spec.backward_program.run([*ctx.saved, *seeds]))
        return None, None, *[next(found) if given else None for given in spec.gradient_given]


def _optimised(graph: Any, level: str) -> Any:
    graph = graph.clone()
    graph.optimise(LEVELS.index(level))
    return graph


class Jitted:
    """A function that is traced once for every signature, and then runs as a static graph. Made by tg.jit."""

    def __init__(self, f: Callable, level: str = "O2") -> None:
        if not callable(f) or isinstance(f, type):
            raise TypeError(f"[jit] expected a function of tensors, got {'the class ' + f.__name__ if isinstance(f, type) else type(f).__name__}")
        if level not in LEVELS:
            raise ValueError(f"[jit] expected level to be one of {', '.join(LEVELS)}, got {level!r}")
        self._f = f
        self.level = level
        self._cache: dict[Any, list[_Specialised]] = {}
        self._made_state: Any = None
        self._report: list[dict[str, Any]] = []
        self._last: _Specialised | None = None
        if isinstance(f, tg.nn.Module):
            self.__name__ = type(f).__name__
        else:
            functools.update_wrapper(self, f)

    def _names(self, leaves: list, tree: Any) -> list[str]:
        """Names of arguments: the parameter's, with a number where it holds several tensors."""
        (_, specs) = tree
        (args_spec, n_args), (kwargs_spec, _) = specs
        f = self._f.forward if isinstance(self._f, tg.nn.Module) else self._f
        try:
            parameters = list(inspect.signature(f).parameters)
        except (TypeError, ValueError):
            parameters = []
        names: list[str] = []
        for i, (_, n) in enumerate(args_spec[1] if args_spec else []):
            base = parameters[i] if i < len(parameters) else f"x{i}"
            names += [base] if n == 1 else [f"{base}{k}" for k in range(n)]
        if kwargs_spec:
            for key, (_, n) in zip(kwargs_spec[0][1], kwargs_spec[1]):
                names += [str(key)] if n == 1 else [f"{key}{k}" for k in range(n)]
        seen: dict[str, int] = {}
        out = []
        for name in names:
            k = seen[name] = seen.get(name, 0) + 1
            out.append(name if k == 1 else f"{name}_{k}")
        return out

    def _key(self, leaves: list, tree: Any) -> Any:
        parts: list[Any] = [tg.is_grad_enabled(), tg.get_num_threads(), _core._get_autocast()]
        for x in leaves:
            if isinstance(x, Tensor):
                parts.append((x.dtype, tuple(x.shape), x.stride(), x.device, x.requires_grad))
                continue
            try:
                hash(x)
            except TypeError:
                raise TypeError(f"[jit] expected arguments that are tensors, or structures of tensors and of what can be compared (numbers, "
                                f"strings), got {type(x).__name__}; give tg.asarray(x) of an array, or the parts of an object") from None
            parts.append((type(x), repr(x) if isinstance(x, float) else x))  # -0.0 is not 0.0, nan is nan
        return tuple(parts), _freeze(tree)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if tracing() is not None:  # within another one: part of it
            return self._f(*args, **kwargs)
        leaves, tree = _tree.flatten((args, kwargs))
        if _core._in_transform(leaves):  # vmap, grad, jvp look into the function
            return self._f(*args, **kwargs)
        key = self._key(leaves, tree)
        known = self._cache.setdefault(key, [])
        spec = next((s for s in known if s.fits()), None)
        if spec is None:
            why = ("first call" if not self._report else "the call before made states" if key == self._made_state
                   else "modules, optimizers, gradients or states are not as they were" if known else "a new signature")
            spec = _Specialised(self, leaves, tree)
            self._report.append({"why": why, "seconds": spec.seconds, "nodes": len(spec.graph),
                                 "launches": spec.program.launches, "arena": spec.program.arena_bytes})
            self._made_state = key if spec.makes_state else None
            if not spec.makes_state:
                known.insert(0, spec)
                del known[_MOST:]
        self._last = spec
        try:
            return spec(leaves)
        except Outdated:
            known.remove(spec)
        return self(*args, **kwargs)

    @property
    def graph(self) -> Any:
        """The graph of the last call, as it runs; print it."""
        return self._need().graph

    @property
    def program(self) -> Any:
        """The list of launches of the last call: `.text()`, `.arena_bytes`, `.launches`."""
        return self._need().program

    def _need(self) -> _Specialised:
        if self._last is None:
            raise RuntimeError("[jit] expected a call before its graph is asked for; call the function once")
        return self._last

    def report(self) -> str:
        """A line for every time the function was traced: why, how long it took, what came of it."""
        lines = [f"{self.__name__}: traced {len(self._report)} times"]
        lines += [f"  {r['why']}: {r['seconds'] * 1e3:.1f} ms, {r['nodes']} nodes, {r['launches']} launches, arena of "
                  f"{r['arena']:,} bytes" for r in self._report]
        return "\n".join(lines)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        bound = instance.__dict__.setdefault("_jitted", {})
        if self not in bound:
            bound[self] = Jitted(self._f.__get__(instance, owner), self.level)
        return bound[self]

    def __repr__(self) -> str:
        return f"<tg.jit of {self.__name__}, level {self.level}>"


def _freeze(tree: Any) -> Any:
    if tree is _tree.LEAF:
        return None
    kind, specs = tree
    return kind, tuple((_freeze(s), n) for s, n in specs)


def jit(f: Callable | None = None, *, level: str = "O2") -> Any:
    """A function of tensors as a static graph: traced at its first call, then run without Python.

    Parameters
    ----------
    f : callable, or a Module
        What it computes may depend on the values of arguments that are not tensors, on shapes and dtypes: another one of
        these makes another graph. Forward passes, `backward()` and an optimizer's `step()` may all be inside.
    level : str
        "O0" runs the calls as they were made; "O1" leaves out what changes no bit of the results; "O2" may change rounding.

    Raises
    ------
    RuntimeError
        When the function looks at the value of a tensor (`item()`, `bool()`, `numpy()`) while it is traced.

    >>> step = tg.jit(lambda x: (x @ x).relu())
    >>> step(tg.ones((2, 2))).tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    if f is None:
        return lambda f: Jitted(f, level)
    return Jitted(f, level)


trace = jit
jit.script = jit  # as PyTorch users write it
jit.trace = lambda f, *examples, level="O2", **ignored: Jitted(f, level)
