# SPDX-License-Identifier: Apache-2.0
"""tg.dump and tg.load_graph: the same numbers from a file, and nothing but named errors from a damaged one."""
import json
import struct
import subprocess
import sys

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 16, 3)
        self.register_buffer("scale", tg.tensor([0.5, 2.0, 1.0]))

    def forward(self, x):
        y = F.relu(self.norm(self.conv(x)))
        return self.fc(F.max_pool2d(y, 2).flatten(1)) * self.scale


def bits(t):
    return t.detach().cpu().numpy().tobytes()


@pytest.fixture
def model(tmp_path):
    tg.manual_seed(0)
    net = Net().eval()
    x = tg.randn((2, 1, 8, 8))
    path = tmp_path / "net.tgm"
    tg.dump(net, path, x, selftest=3, metadata={"labels": "a,b,c", "licence": "Apache-2.0"})
    return net, x, path


def test_a_file_gives_the_numbers_of_eager_execution(model):
    net, x, path = model
    loaded = tg.load_graph(path)
    assert bits(loaded(x)) == bits(net(x)) == bits(loaded(x=x))
    assert loaded.metadata == {"labels": "a,b,c", "licence": "Apache-2.0"}
    assert loaded.selftest() == "3 of 3 examples bit for bit"
    other = tg.randn((2, 1, 8, 8))
    assert bits(loaded(other)) == bits(net(other))
    assert set(loaded.graph.states) == set(dict(net.named_parameters())) | {n for n, _ in net.named_buffers() if "num_batches" not in n}


def test_another_process_reads_it(model):
    net, x, path = model
    code = f"import tengen as tg; m = tg.load_graph({str(path)!r}); print(m.selftest())"
    assert "3 of 3" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_it_is_a_safetensors_file(model):
    path = model[2]
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    assert (8 + n) % 64 == 0
    assert all(e["data_offsets"][0] % 64 == 0 for k, e in header.items() if k.startswith(("w:", "sample:")))
    assert json.loads(header["__metadata__"]["tengen.graph"])["schema"] == 1
    weight = header["w:fc.weight"]
    a, b = weight["data_offsets"]
    np.testing.assert_array_equal(np.frombuffer(raw[8 + n + a : 8 + n + b], "<f4").reshape(weight["shape"]), model[0].fc.weight.detach().numpy())


def test_second_devices(model, second_device):
    net, x, path = model
    loaded = tg.load_graph(path, second_device)
    assert loaded(x.to(second_device)).device == second_device
    assert "examples bit for bit" in loaded.selftest()


def test_functions_with_several_results_and_dtypes(tmp_path):
    def f(x, i):
        return {"top": x.topk(2)[1], "half": x.to(tg.float16) * 2, "picked": x[:, i], "nan": tg.where(x > 0, x, float("nan"))}

    x, i = tg.randn((3, 4)), tg.tensor([2, 0])
    tg.dump(f, tmp_path / "f.tgm", x, i, selftest=1)
    got = tg.load_graph(tmp_path / "f.tgm")(x, i)
    for a, b in zip(f(x, i).values(), got):
        assert a.dtype == b.dtype and bits(a) == bits(b)


def test_wrong_arguments_say_what_is_expected(model):
    loaded = tg.load_graph(model[2])
    with pytest.raises(ValueError, match=r"expected x to be f32 \(2, 1, 8, 8\)"):
        loaded(tg.ones((1, 1, 8, 8)))
    with pytest.raises(ValueError, match="f32"):
        loaded(tg.ones((2, 1, 8, 8), dtype=tg.float64))
    with pytest.raises(TypeError, match="expected the arguments x"):
        loaded(y=tg.ones((2, 1, 8, 8)))


def test_what_cannot_be_in_a_file(tmp_path):
    w = tg.ones(2, requires_grad=True)

    def leaves_gradients(x):
        with tg.enable_grad():
            (w * x).sum().backward()
        return x

    with pytest.raises(ValueError, match="gradients"):
        tg.dump(leaves_gradients, tmp_path / "g.tgm", tg.ones(2))
    assert not (tmp_path / "g.tgm").exists()
    with pytest.raises(OSError, match="no such|No such"):
        tg.load_graph(tmp_path / "nothing.tgm")
    with pytest.raises(OSError):
        tg.dump(lambda x: x + 1, tmp_path / "no" / "f.tgm", tg.ones(2))


def rewritten(path, change):
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    graph = json.loads(header["__metadata__"]["tengen.graph"])
    change(header, graph)
    header["__metadata__"]["tengen.graph"] = json.dumps(graph)
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])


DAMAGE = {
    "an unknown op": (lambda h, g: g["nodes"][0].update(op="convolve"), "convolve"),
    "a newer revision": (lambda h, g: g["nodes"][0].update(revision=99), "revision"),
    "a newer schema": (lambda h, g: g.update(schema=7), "schema"),
    "a cycle": (lambda h, g: g["nodes"].reverse(), "comes before"),
    "absurd sizes": (lambda h, g: g["inputs"][0].update(shape=[2**40, 2**40]), "2\\^48"),
    "a negative size": (lambda h, g: g["inputs"][0].update(shape=[-1]), "sizes"),
    "a wrong shape of a weight": (lambda h, g: h["w:fc.bias"].update(shape=[1]), "bytes|expected"),
    "a missing weight": (lambda h, g: h.pop("w:fc.bias"), "fc.bias"),
    "offsets beyond the file": (lambda h, g: h["w:fc.bias"].update(data_offsets=[10**9, 10**9 + 12]), "within the file"),
    "overlap": (lambda h, g: h["w:fc.bias"].update(data_offsets=h["w:scale"]["data_offsets"]), "overlap"),
    "a wrong result": (lambda h, g: g["nodes"][0]["out"][0].update(shape=[2, 4, 8, 9]), "to be"),
    "no graph": (lambda h, g: g.clear(), "schema"),
    "an attribute of another kind": (lambda h, g: next(n for n in g["nodes"] if n["op"] == "conv")["attrs"].update(stride={"string": "x"}), "ints|list|stride|expected"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_files(model, what):
    change, message = DAMAGE[what]
    rewritten(model[2], change)
    with pytest.raises((ValueError, TypeError), match=message):
        tg.load_graph(model[2])


def test_flipped_weights_fail_their_checksum(model):
    path = model[2]
    raw = bytearray(path.read_bytes())
    (n,) = struct.unpack("<Q", raw[:8])
    begin = json.loads(raw[8 : 8 + n])["w:fc.weight"]["data_offsets"][0]
    raw[8 + n + begin + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="checksum"):
        tg.load_graph(path)


def test_truncation_and_noise(model):
    """Any prefix and any flipped byte of the header gives a ValueError or a model that runs, never a crash."""
    path = model[2]
    raw = path.read_bytes()
    rng = np.random.default_rng(1)
    for n in [0, 1, 7, 8, 9, *rng.integers(10, len(raw), 40)]:
        path.write_bytes(raw[: int(n)])
        with pytest.raises(ValueError):
            tg.load_graph(path)
    (n,) = struct.unpack("<Q", raw[:8])
    for _ in range(150):
        noisy = bytearray(raw)
        noisy[int(rng.integers(0, 8 + n))] = int(rng.integers(0, 256))
        path.write_bytes(noisy)
        try:
            tg.load_graph(path)
        except (ValueError, TypeError, OSError, MemoryError, IndexError, NotImplementedError, OverflowError, RuntimeError) as e:
            assert str(e) and "internal error" not in str(e)


def command(*args):
    return subprocess.run([sys.executable, "-m", "tengen", *map(str, args)], capture_output=True, text=True, check=False)


def test_the_command_runs_and_inspects_models(model):
    path = model[2]
    done = command("run", path, "--selftest", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"samples": 3, "identical": 3, "worst": 0, "ok": True})
    figures = json.loads(command("run", path, "--repeat", 3, "--json").stdout)
    loaded = tg.load_graph(path)
    assert figures["runs"] == 3 and figures["arena_bytes"] == loaded.program.arena_bytes and figures["launches"] == loaded.program.launches
    seen = json.loads(command("inspect", path, "--json").stdout)
    assert seen["arguments"] == ["%x: f32[2, 1, 8, 8]"] and seen["ops"]["conv"] == 1 and seen["runs_here"] is True
    assert seen["metadata"]["labels"] == "a,b,c" and seen["examples"] == 3
    assert command("inspect", path, "--graph").stdout == str(loaded.graph)


def test_the_command_says_when_the_numbers_differ(model):
    path = model[2]
    raw = bytearray(path.read_bytes())
    (n,) = struct.unpack("<Q", raw[:8])
    begin = json.loads(raw[8 : 8 + n])["sample:1:out:0"]["data_offsets"][0]
    raw[8 + n + begin + 3] ^= 0x40  # another exponent
    path.write_bytes(raw)
    done = command("run", path, "--selftest")
    assert done.returncode == 1 and "2 of 3 examples came out bit for bit" in done.stdout and "beyond the bound" in done.stdout
    with pytest.raises(RuntimeError, match="difference"):
        tg.load_graph(path).selftest()
    assert command("run", path.with_name("none.tgm")).returncode in (2, 3)
