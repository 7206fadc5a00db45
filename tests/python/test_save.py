# SPDX-License-Identifier: Apache-2.0
"""tg.save and tg.load: round trips, the format itself, damaged files, crashes while saving."""
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import tengen as tg
from tengen import _serialization as ser

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def same(a, b):
    return a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape) and a.numpy().tobytes() == b.numpy().tobytes()


def parse(path):
    """(header, data) read by hand."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:8 + n]), raw[8 + n:]


def compose(header, data, pad=0):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * pad
    return len(text).to_bytes(8, "little") + text + data


# ---- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_shapes(tmp_path, dtype):
    rng = np.random.RandomState(0)
    tensors = {str(i): tg.tensor((np.asarray(rng.randn(*s)) * 3).astype(dtype)) for i, s in
               enumerate([(), (1,), (0,), (3, 0, 2), (5,), (4, 3), (2, 3, 4), (64, 16)])}
    tg.save(tensors, tmp_path / "t.safetensors")
    back = tg.load(tmp_path / "t.safetensors")
    assert list(back) == list(tensors)
    for name in tensors:
        assert same(tensors[name], back[name]), name


@pytest.mark.parametrize("build", [
    lambda a, b: {"": a}, lambda a, b: {"": a, "tensor": b}, lambda a, b: {"": {"": a, "x": b}, "n": 1}, lambda a, b: [{"": a}, b],
    lambda a, b: {"": [a, b.numpy()]}, lambda a, b: a,
], ids=range(6))
def test_empty_keys_stay(tmp_path, build):
    a, b = tg.tensor([1.0]), tg.tensor([2.0, 3.0])
    tg.save(build(a, b), tmp_path / "t")
    assert repr(tg.load(tmp_path / "t")) == repr(build(a, b))


@pytest.mark.parametrize("shape", [[2**62, 4], [2**61], [0, 2**62, 2**62], [2**62, 0, 2**62], [0, 2**60]])
def test_sizes_that_cannot_be_addressed(tmp_path, shape):
    (tmp_path / "huge.safetensors").write_bytes(compose({"t": {"dtype": "F64", "shape": shape, "data_offsets": [0, 0]}}, b""))
    with pytest.raises(ValueError, match=r"huge\.safetensors: tensor 't'"):
        tg.load(tmp_path / "huge.safetensors")


def test_bfloat16(tmp_path):
    values = np.array([1, -2.5, 3e38, 1e-40, np.inf, 0.1], np.float32)
    t = tg.tensor(values).to(tg.bfloat16)
    tg.save({"t": t}, tmp_path / "t")
    back = tg.load(tmp_path / "t")["t"]
    assert back.dtype == tg.bfloat16
    assert back.to(tg.float32).numpy().tobytes() == t.to(tg.float32).numpy().tobytes()
    header, data = parse(tmp_path / "t")
    assert header["t"]["dtype"] == "BF16" and len(data) == 12
    assert np.frombuffer(data, "<u2")[0] == 0x3F80


def test_nested(tmp_path):
    tied = tg.tensor(np.arange(3.0))
    obj = {"model": {"a.b": tied, "c": tied, 3: [tg.tensor(np.ones((2, 2))), (1, 2.5, None)]},
           "optimizer": {"state": {0: {"step": 7, "m": tg.tensor(np.float32(2))}}, "lr": 0.1, "betas": (0.9, 0.999)},
           "nan": float("nan"), "inf": [float("inf"), -float("inf")], "text": "ä\n\"", "flag": True, "big": 2**70,
           "array": np.arange(4, dtype=np.int16), "empty": {}, "np": np.float32(0.5)}
    tg.save(obj, tmp_path / "c")
    back = tg.load(tmp_path / "c")
    assert list(back) == list(obj)
    assert back["model"]["a.b"].tolist() == [0, 1, 2] and back["model"]["c"] is back["model"]["a.b"]
    assert back["model"][3][0].tolist() == [[1, 1], [1, 1]] and back["model"][3][1] == (1, 2.5, None)
    assert back["optimizer"]["state"][0]["step"] == 7 and back["optimizer"]["betas"] == (0.9, 0.999)
    assert back["optimizer"]["state"][0]["m"].item() == 2 and back["optimizer"]["lr"] == 0.1
    assert back["nan"] != back["nan"] and back["inf"] == [float("inf"), -float("inf")]
    assert back["text"] == obj["text"] and back["flag"] is True and back["big"] == 2**70 and back["empty"] == {}
    assert isinstance(back["array"], np.ndarray) and back["array"].dtype == np.int16 and back["np"] == 0.5
    single = tg.tensor(np.arange(2))
    tg.save(single, tmp_path / "one")
    assert same(tg.load(tmp_path / "one"), single)
    tg.save([1, "x"], tmp_path / "none")
    assert tg.load(tmp_path / "none") == [1, "x"]
    tg.save({}, tmp_path / "empty")
    assert tg.load(tmp_path / "empty") == {}
    tg.save({"__metadata__": tg.tensor(np.ones(1))}, tmp_path / "name")
    assert tg.load(tmp_path / "name")["__metadata__"].tolist() == [1]


def test_colliding_paths(tmp_path):
    obj = {"a": {"b": tg.tensor(np.zeros(1))}, "a.b": tg.tensor(np.ones(1))}
    tg.save(obj, tmp_path / "c")
    back = tg.load(tmp_path / "c")
    assert back["a"]["b"].item() == 0 and back["a.b"].item() == 1


def test_metadata(tmp_path):
    tg.save({"a": tg.tensor(np.zeros(1))}, tmp_path / "c", metadata={"who": "me"})
    assert tg._serialization.load_metadata(tmp_path / "c") == {"who": "me"}
    with pytest.raises(TypeError, match="strings to strings"):
        tg.save({}, tmp_path / "d", metadata={"n": 1})
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_saved(tmp_path):
    for obj, message in [({"a": {"b": object()}}, "cannot save object at a.b"), ({(1, 2): 3}, "got tuple"),
                         (np.zeros(2, np.clongdouble), "no dtype for complex256"), ({1, 2}, "cannot save set at the top")]:
        with pytest.raises(TypeError, match=message):
            tg.save(obj, tmp_path / "x")
    cycle = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="nested more than"):
        tg.save(cycle, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


# ---- the format ------------------------------------------------------------------------------------------------------


def test_layout(tmp_path):
    tensors = {"odd": tg.tensor(np.ones(3, np.uint8)), "wide": tg.tensor(np.ones((32, 2))),
               "half": tg.tensor(np.ones(5, np.float16)), "line": tg.tensor(np.ones(16, np.float32))}
    tg.save(tensors, tmp_path / "t")
    header, data = parse(tmp_path / "t")
    start = len((tmp_path / "t").read_bytes()) - len(data)
    assert start % 64 == 0 and "__metadata__" not in header and list(header) == list(tensors)
    spans = sorted(tuple(e["data_offsets"]) for e in header.values())
    assert spans[0][0] == 0 and spans[-1][1] == len(data)
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:]))
    assert header["wide"]["data_offsets"][0] % 64 == 0 and header["line"]["data_offsets"][0] % 64 == 0
    assert header["half"]["data_offsets"][0] % 2 == 0
    assert header["wide"] == {"dtype": "F64", "shape": [32, 2], "data_offsets": header["wide"]["data_offsets"]}


def test_file_by_hand(tmp_path):
    data = np.arange(6, dtype="<f4").tobytes() + b"\x01\x00"
    header = {"__metadata__": {"format": "pt"}, "b": {"dtype": "BOOL", "shape": [2], "data_offsets": [24, 26]},
              "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    (tmp_path / "t").write_bytes(compose(header, data, pad=5))
    back = tg.load(tmp_path / "t")
    assert back["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and back["b"].tolist() == [True, False]
    assert ser.load_metadata(tmp_path / "t") == {"format": "pt"}


def test_against_the_safetensors_package(tmp_path):
    theirs = pytest.importorskip(
        "safetensors.numpy", reason="the safetensors package is not installed: no other reader"
    )
    rng = np.random.RandomState(0)
    arrays = {d: (rng.randn(3, 5) * 3).astype(d) for d in DTYPES}
    tg.save({k: tg.tensor(v) for k, v in arrays.items()}, tmp_path / "ours")
    read = theirs.load_file(tmp_path / "ours")
    assert set(read) == set(arrays) and all(
        (read[k] == arrays[k]).all() and read[k].dtype == arrays[k].dtype for k in read
    )
    tg.save({"nested": [tg.tensor(arrays["float32"]), 3]}, tmp_path / "nested")
    assert (theirs.load_file(tmp_path / "nested")["nested.0"] == arrays["float32"]).all()
    theirs.save_file(arrays, tmp_path / "theirs", metadata={"by": "them"})
    back = tg.load(tmp_path / "theirs")
    assert all((back[k].numpy() == arrays[k]).all() and back[k].numpy().dtype == arrays[k].dtype for k in arrays)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD = {
    "empty file": (b"", "8-byte header length; the file has 0 bytes"),
    "seven bytes": (b"\0" * 7, "has 7 bytes"),
    "huge header": ((2**63).to_bytes(8, "little") + b"{}", "claims a header of 9223372036854775808 bytes; at most"),
    "long header": ((100).to_bytes(8, "little") + b"{}", "claims a header of 100 bytes, but only 2 follow"),
    "no json": (compose(b"hello", b""), "no JSON object"),
    "list": (compose(b"[1]", b""), "no JSON object"),
    "cut json": (compose(b'{"a":', b""), "no valid JSON"),
    "utf-8": (compose(b'{"\xff":1}', b""), "not UTF-8"),
    "nan": (compose(b'{"a": NaN}', b""), "NaN is not JSON"),
    "deep": (compose(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""), "no valid JSON"),
    "twice": (compose(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":1}', b"x"), "'a' is there twice"),
    "no object": (compose({"a": 1}, b""), "tensor 'a': expected an object"),
    "extra key": (compose({"a": {**ENTRY, "x": 1}}, b"." * 8), "tensor 'a': expected an object of dtype, shape"),
    "dtype": (compose({"a": {**ENTRY, "dtype": "F33"}}, b"." * 8), "tensor 'a': unknown dtype 'F33'"),
    "dtype kind": (compose({"a": {**ENTRY, "dtype": ["F32"]}}, b"." * 8), "tensor 'a': unknown dtype"),
    "negative": (compose({"a": {**ENTRY, "shape": [-2]}}, b"." * 8), "tensor 'a': expected shape"),
    "float shape": (compose({"a": {**ENTRY, "shape": [2.0]}}, b"." * 8), "tensor 'a': expected shape"),
    "bool shape": (compose({"a": {**ENTRY, "shape": [True, 2]}}, b"." * 8), "tensor 'a': expected shape"),
    "rank": (compose({"a": {**ENTRY, "shape": [1] * 40 + [2]}}, b"." * 8), "at most 32 dimensions"),
    "shape bytes": (compose({"a": {**ENTRY, "shape": [3]}}, b"." * 8), "needs 12 bytes, its data_offsets hold 8"),
    "overflow": (compose({"a": {**ENTRY, "shape": [2**62, 2**62]}}, b"." * 8), "tensor 'a': F32 of shape"),
    "truncated": (compose({"a": ENTRY}, b"." * 7), r"tensor 'a': data_offsets \[0, 8\] are not inside the 7 bytes"),
    "too long": (compose({"a": ENTRY}, b"." * 9), "1 bytes that belong to no tensor"),
    "backwards": (compose({"a": {**ENTRY, "data_offsets": [8, 0]}}, b"." * 8), "tensor 'a': data_offsets"),
    "three": (compose({"a": {**ENTRY, "data_offsets": [0, 8, 9]}}, b"." * 8), "tensor 'a': expected data_offsets"),
    "hole": (
        compose({"a": {**ENTRY, "data_offsets": [4, 12]}}, b"." * 12),
        "tensor 'a': begins at byte 4 .* hole after 'the header'",
    ),
    "overlap": (
        compose({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, b"." * 12),
        "tensor 'b': .* overlaps 'a'",
    ),
    "metadata": (compose({"__metadata__": {"a": 1}}, b""), "__metadata__ must map"),
    "bool bytes": (
        compose({"a": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\1\2"),
        "BOOL bytes other",
    ),
    "structure json": (compose({"__metadata__": {"tengen.structure": "{"}}, b""), "structure is no valid JSON"),
    "structure name": (compose({"__metadata__": {"tengen.structure": '{"tensor": "a"}'}}, b""), "'a', which is not in"),
    "structure kind": (
        compose({"__metadata__": {"tengen.structure": '{"call": "os.system"}'}}, b""),
        "unknown entry 'call'",
    ),
    "structure keys": (compose({"__metadata__": {"tengen.structure": '{"a": 1, "b": 2}'}}, b""), "object with keys"),
    "structure twice": (
        compose({"__metadata__": {"tengen.structure": '{"dict": [["a", 1], ["a", 2]]}'}}, b""),
        "twice",
    ),
    "structure deep": (compose({"__metadata__": {"tengen.structure": "[" * 200 + "]" * 200}}, b""), "nested more than"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage(tmp_path, case):
    data, message = BAD[case]
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        tg.load(tmp_path / "bad")
    assert str(tmp_path / "bad") in str(caught.value)


def test_claims_are_not_believed(tmp_path):
    import tracemalloc

    n = 2**38
    (tmp_path / "liar").write_bytes(compose({"a": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}, b"x"))
    (tmp_path / "header").write_bytes((90_000_000).to_bytes(8, "little") + b"{}")
    tracemalloc.start()
    for name in ("liar", "header"):
        with pytest.raises(ValueError):
            tg.load(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_fuzz(tmp_path, seed):
    """Any change to any byte: a ValueError, or an object of tensors as the file now says - never another exception."""
    path = tmp_path / "f"
    tg.save({"a": {"w": tg.tensor(np.arange(6, dtype=np.float32)), "n": [1, 2.5, (None, "x")]},
             "b": tg.tensor(np.array([True, False]))}, path)
    good = path.read_bytes()
    rng = random.Random(seed)
    refused = 0
    for _ in range(600):
        data = bytearray(good)
        kind = rng.randrange(5)
        if kind == 0:
            data = data[:rng.randrange(len(data))]
        elif kind == 1:
            at = rng.randrange(len(data))
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            at = rng.randrange(len(data))
            del data[at:at + rng.randrange(1, 9)]
        else:
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data) if kind == 3 else 300)] = rng.randrange(256)
        path.write_bytes(data)
        try:
            tg.load(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 300


def test_no_pickle_is_read(tmp_path):
    import pickle

    (tmp_path / "p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a safetensors file"):
        tg.load(tmp_path / "p")


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c"
    tg.save({"v": 1}, path)

    def broken(fd):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        tg.save({"v": 2}, path)
    monkeypatch.undo()
    assert tg.load(path) == {"v": 1} and [p.name for p in tmp_path.iterdir()] == ["c"]


def test_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    tg.save({"v": 1}, tmp_path / "c")
    assert calls == ["fsync", "replace", "fsync"]


def test_link_and_rights(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "c")
    tg.save({"v": 1}, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and tg.load(tmp_path / "real" / "c") == {"v": 1}
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "real" / "c").stat().st_mode & 0o777 == 0o666 & ~umask


SAVER = """
    import sys
    import numpy as np
    import tengen as tg
    n = 0
    while True:
        n += 1
        tg.save({"n": n, "w": tg.tensor(np.full((300, 1000), n, np.float32)), "end": n}, sys.argv[1])
        print(n, flush=True)
"""


@pytest.mark.slow
def test_killed_while_saving(tmp_path):
    """kill -9 at random moments: the file is there, whole, and no older than the last save that returned."""
    path = tmp_path / "c"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    rng = random.Random(0)
    left_over = 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SAVER), str(path)], env=env,
                                   stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(rng.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        said = [1, *map(int, process.communicate()[0].split())]
        left_over += len(list(tmp_path.iterdir())) - 1
        back = tg.load(path)
        assert back["n"] == back["end"] >= said[-1]
        assert (back["w"].numpy() == back["n"]).all()
    tg.save({"n": 0}, path)  # clears away what the killed ones left
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert left_over > 0, "no kill hit a save: the test has not tested"


def test_concurrent_savers(tmp_path):
    path = tmp_path / "c"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = textwrap.dedent(SAVER).replace("while True:", "while n < 30:")
    running = [subprocess.Popen([sys.executable, "-c", script, str(path)], env=env, stdout=subprocess.DEVNULL)
               for _ in range(2)]
    assert [p.wait(60) for p in running] == [0, 0]
    assert tg.load(path)["n"] == 30 and [p.name for p in tmp_path.iterdir()] == ["c"]


def test_open_files(tmp_path):
    import io

    data = {"w": tg.arange(5), "step": 3, "more": [tg.ones(2, 2), None]}
    buffer = io.BytesIO()
    buffer.write(b"before")
    tg.save(data, buffer)
    tg.save(data, tmp_path / "a")
    assert buffer.getvalue() == b"before" + (tmp_path / "a").read_bytes()
    buffer.seek(6)
    with open(tmp_path / "a", "rb") as file:
        for got in (tg.load(buffer), tg.load(file, map_location="cpu", weights_only=True)):
            assert got["step"] == 3 and got["w"].tolist() == [0, 1, 2, 3, 4] and got["more"][0].tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ValueError, match=r"\[load\] <BytesIO>: expected a safetensors file"):
        tg.load(io.BytesIO(b"abc"))
    with pytest.raises(TypeError, match="'rb'"):
        tg.load(io.StringIO("abc"))
    with pytest.raises(TypeError, match="one device as map_location, got dict"):
        tg.load(tmp_path / "a", map_location={"cuda:0": "cpu"})


@pytest.mark.parametrize("device", [d.name for d in tg.devices() if d.usable])
def test_map_location(tmp_path, device):
    tg.save({"w": tg.arange(5)}, tmp_path / "a")
    assert tg.load(tmp_path / "a", device)["w"].device == tg.load(tmp_path / "a", map_location=tg.device(device))["w"].device == tg.device(device)
