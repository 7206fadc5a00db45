# SPDX-License-Identifier: Apache-2.0
"""Data sets from files: downloads, pictures, folders of pictures, MNIST, CIFAR-10, text."""
import functools
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import tarfile
import threading
import zlib
from pathlib import Path

import numpy as np
import PIL.Image as PIL
import pytest

import tengen as tg
from tengen.data import (
    CIFAR10,
    MNIST,
    CharText,
    DataLoader,
    FashionMNIST,
    ImageFolder,
    Vocabulary,
    download,
    read_image,
    write_idx,
    write_image,
)
from tengen.data import image as image_module

RNG = np.random.default_rng(0)


@pytest.fixture
def server(tmp_path):
    """A directory and the URL under which this machine serves it."""
    root = tmp_path / "served"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root))
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{serving.server_address[1]}/"
    serving.shutdown()
    thread.join()


# ---- download --------------------------------------------------------------------------------------------------------


def test_download(server, tmp_path):
    root, url = server
    data = RNG.bytes(600_000)
    (root / "a.bin").write_bytes(data)
    md5, sha = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    target = tmp_path / "new" / "a.bin"
    assert download(url + "a.bin", target, md5=md5, sha256=sha) == target and target.read_bytes() == data
    (root / "a.bin").unlink()
    assert download(url + "a.bin", target, md5=md5).read_bytes() == data, "what is there is not fetched again"
    with pytest.raises(OSError, match="a.bin"):
        download(url + "a.bin", tmp_path / "b.bin")
    assert sorted(os.listdir(tmp_path)) == ["new", "served"]


def test_downloaded_files_are_as_readable_as_others(server, tmp_path):
    root, url = server
    (root / "a.bin").write_bytes(b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert download(url + "a.bin", tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_download_from_what_does_not_speak_http(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as serving:
        def answer():
            with serving.accept()[0] as caller:
                caller.recv(1000)
                caller.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="cannot be fetched"):
            download(f"http://127.0.0.1:{serving.getsockname()[1]}/a", tmp_path / "a")
        thread.join()
    assert os.listdir(tmp_path) == []


def test_download_with_another_checksum_leaves_things_as_they_were(server, tmp_path):
    root, url = server
    (root / "a.bin").write_bytes(b"changed")
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="expected md5 0000, got"):
        download(url + "a.bin", target, md5="0000")
    assert target.read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["a.bin", "served"]


def test_download_that_ends_early(tmp_path):
    class Short(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *args):
            pass

    serving = http.server.HTTPServer(("127.0.0.1", 0), Short)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        with pytest.raises(OSError):
            download(f"http://127.0.0.1:{serving.server_address[1]}/a", tmp_path / "a")
        assert os.listdir(tmp_path) == []
    finally:
        serving.shutdown()


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels, mode", [(1, "gray"), (2, "gray_alpha"), (3, "rgb"), (4, "rgba")])
def test_png_round_trip(tmp_path, channels, mode):
    image = RNG.integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", mode), image)
    np.testing.assert_array_equal(read_image((tmp_path / "a.png").read_bytes(), "unchanged"), image)
    write_image(tmp_path / "b.png", tg.tensor(image))
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("mode", ["gray", "rgb", "unchanged"])
def test_samples_of_16_bits(tmp_path, mode):
    samples = np.array([[0, 127, 129, 257], [32768, 60000, 65407, 65535]], np.uint16)
    PIL.fromarray(samples).save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png", mode)
    assert got.dtype == np.uint8 and got.shape == (3 if mode == "rgb" else 1, 2, 4)
    for channel in got:
        np.testing.assert_array_equal(channel, np.round(samples / 257).astype(np.uint8))
    PIL.fromarray(samples.astype(np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match="8 or 16 bits, got floats"):
        read_image(tmp_path / "f.tiff", mode)


def test_jpeg_is_pillows(tmp_path):
    smooth = np.stack([np.add.outer(np.arange(16) * 9, np.arange(24) * k) for k in (1, 2, 3)]).clip(0, 255).astype(np.uint8)
    write_image(tmp_path / "a.jpg", smooth, quality=95)
    got = read_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(got, np.asarray(PIL.open(tmp_path / "a.jpg")).transpose(2, 0, 1))
    assert np.abs(got.astype(int) - smooth).mean() < 3


def test_a_cameras_rotation_is_followed(tmp_path):
    picture = PIL.fromarray(RNG.integers(0, 256, (4, 6), dtype=np.uint8))
    exif = PIL.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "gray")[0], np.rot90(np.asarray(picture), -1))


def test_damaged_pictures(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((3, 64, 64), np.uint8))
    data = (tmp_path / "a.png").read_bytes()
    for bad in (b"", b"no picture", data[:40], data[:-30]):
        with pytest.raises(ValueError, match="damaged or foreign"):
            read_image(bad)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="mode"):
        read_image(data, "cmyk")
    # A header that claims a huge picture is refused before anything of that size is made.
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ValueError, match="100000 x 100000|damaged or foreign"):
        read_image(data[:8] + chunk + data[33:])
    monkeypatch.setattr(image_module, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="64 x 64 pixels, more than 100"):
        read_image(data)
    with pytest.raises(TypeError, match="expected uint8, got float32"):
        write_image(tmp_path / "b.png", np.zeros((3, 2, 2), np.float32))
    with pytest.raises(ValueError, match="channels"):
        write_image(tmp_path / "b.png", np.zeros((2, 2), np.uint8))


def test_image_folder(tmp_path):
    images = {}
    for name, files in {"dog": ["b.png", "a.PNG"], "cat": ["deep/c.png"]}.items():
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            images[name, file] = RNG.integers(0, 256, (3, 4, 4)).astype(np.uint8)
            write_image(path, images[name, file])
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    data = ImageFolder(tmp_path)
    assert re.fullmatch(rf"ImageFolder\('{tmp_path}': \d+ files in \d+ classes, transform=None\)", repr(data)) and f": {len(data)} files" in repr(data)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1} and len(data) == 3
    assert data.targets.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(data[1][0], images["dog", "a.PNG"])
    x, y = next(iter(DataLoader(data, batch_size=3, num_workers=1)))
    assert x.shape == (3, 3, 4, 4) and x.dtype == tg.uint8 and y.tolist() == [0, 1, 1]
    (tmp_path / "dog" / "z.png").write_bytes(b"garbage")
    loader = DataLoader(ImageFolder(tmp_path), batch_size=4, num_workers=1)
    with pytest.raises(ValueError, match="z.png: expected a picture"):
        next(iter(loader))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no directory"):
        ImageFolder(tmp_path / "none")


# ---- MNIST, CIFAR-10 -------------------------------------------------------------------------------------------------


def idx_files(folder, n, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8), RNG.integers(0, 10, n).astype(np.uint8)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images if part == "train" else images[:3])
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels if part == "train" else labels[:3])
    return images, labels


@pytest.mark.parametrize("where, suffix", [("", ".gz"), ("MNIST", ""), ("MNIST/raw", ".gz")])
def test_mnist_from_local_files(tmp_path, where, suffix):
    images, labels = idx_files(tmp_path / where, 8, suffix)
    train, test = MNIST(tmp_path), MNIST(tmp_path, train=False, target_transform=lambda y: -y)
    np.testing.assert_array_equal(train.data[:, 0], images)
    assert len(train) == 8 and len(test) == 3 and test[1][1] == -int(labels[1]) and train[2][0].shape == (1, 28, 28)
    x, y = next(iter(DataLoader(train, batch_size=8)))
    np.testing.assert_array_equal(x.numpy()[:, 0], images)
    assert y.tolist() == labels.tolist() and y.dtype == tg.int64


def test_mnist_download(server, tmp_path, monkeypatch):
    root, url = server
    images, _ = idx_files(root, 4)
    monkeypatch.setattr(FashionMNIST, "mirror", url)
    with pytest.raises(FileNotFoundError, match="download=True"):
        FashionMNIST(tmp_path)
    with pytest.raises(ValueError, match="expected md5 8d4fb7e6"):
        FashionMNIST(tmp_path, download=True)
    monkeypatch.setattr(FashionMNIST, "files", {f: hashlib.md5((root / f).read_bytes()).hexdigest() for f in FashionMNIST.files})
    np.testing.assert_array_equal(FashionMNIST(tmp_path, download=True).data[:, 0], images)
    assert FashionMNIST(tmp_path).classes[9] == "Ankle boot"


@pytest.mark.skipif("TENGEN_DATA" not in os.environ, reason="TENGEN_DATA is unset: it names the directory that has mnist10k/")
def test_mnist_on_real_files():
    test = MNIST(Path(os.environ["TENGEN_DATA"]) / "mnist10k", train=False)
    assert len(test) == 10000
    assert np.bincount(test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as published


def cifar_files(folder):
    folder.mkdir(parents=True)
    rows = {}
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        rows[name] = RNG.integers(0, 256, (2, 3073)).astype(np.uint8)
        rows[name][:, 0] %= 10
        (folder / name).write_bytes(rows[name].tobytes())
    return rows


def test_cifar10(tmp_path, monkeypatch):
    rows = cifar_files(tmp_path / "cifar-10-batches-bin")
    train, test = CIFAR10(tmp_path), CIFAR10(tmp_path, train=False)
    assert len(train) == 10 and len(test) == 2
    assert train.targets[2] == rows["data_batch_2.bin"][0, 0]
    np.testing.assert_array_equal(test[1][0], rows["test_batch.bin"][1, 1:].reshape(3, 32, 32))
    packed = tmp_path / "packed"
    packed.mkdir()
    archive = packed / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    with pytest.raises(ValueError, match="expected md5 c32a1d4a"):
        CIFAR10(packed)
    monkeypatch.setattr(CIFAR10, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    np.testing.assert_array_equal(CIFAR10(packed).data, train.data)
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"\x01" * 3000)
    with pytest.raises(ValueError, match="multiple of 3073 bytes, got 3000"):
        CIFAR10(tmp_path, train=False)
    with pytest.raises(FileNotFoundError, match="download=True"):
        CIFAR10(tmp_path / "none")


# ---- text ------------------------------------------------------------------------------------------------------------


def test_text_by_character(tmp_path):
    text = "to be, or not to be: ÄÖ 天元 that is the question"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    data = CharText(tmp_path / "a.txt", block=5)
    assert data.vocabulary.characters == sorted(set(text)) and len(data) == len(text) - 5
    x, y = data[3]
    assert data.vocabulary.decode(x) == text[3:8] and data.vocabulary.decode(y) == text[4:9]
    x, y = next(iter(DataLoader(data, batch_size=4)))
    assert [data.vocabulary.decode(row) for row in y] == [text[i + 1:i + 6] for i in range(4)] and x.dtype == tg.int64
    train, held = data.split(0.75)
    assert data.vocabulary.decode(np.concatenate([train.codes, held.codes])) == text and len(held.codes) == len(text) - int(len(text) * 0.75)
    with pytest.raises(ValueError, match="got 'X'"):
        data.vocabulary.encode("toX")
    with pytest.raises(IndexError, match="from 0 to"):
        data.vocabulary.decode([len(data.vocabulary)])
    with pytest.raises(ValueError, match="longer than the block of 500"):
        CharText(tmp_path / "a.txt", block=500)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected UTF-8"):
        CharText(tmp_path / "b.txt", block=1)
    assert Vocabulary("").encode("").tolist() == []
    assert io.StringIO(data.vocabulary.decode(data.vocabulary.encode(text))).read() == text
