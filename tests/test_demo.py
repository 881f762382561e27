"""A page on which a person tries a model: the answers are those of `predict`, and hostile requests do no harm."""

from __future__ import annotations

import http.client
import io
import json
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.core.geometry import Frame
from visiontasks.demo.answers import Demo, name_of, shown_size
from visiontasks.demo.guard import is_own
from visiontasks.demo.heat import placed
from visiontasks.demo.reduced import predict_reduced
from visiontasks.demo.server import MOST, Server, content_policy
from visiontasks.demo.shown import outlines, shown_of
from visiontasks.models import Backbone, LabelHead
from visiontasks.predict import Predictor
from visiontasks.predict.networks import open_network
from visiontasks.predict.sources import Source, given_sources
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets.sample import predict_sample, record_of
from visiontasks.tasks import VisionTask

ROOT = Path(__file__).parents[1]
HTML = "<img src=x onerror=alert(1)>"


class Answer(NamedTuple):
    """Status, headers and content of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Client:
    """Sends requests to a server, each in a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.server, self.port = server, int(server.server_address[1])

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def raw(self, data: bytes, close: bool = False) -> bytes:
        """Sends bytes and returns all that comes back; with `close`, says that no more will come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(2**16), b""))


@contextmanager
def served(demo: Demo, **options: Any) -> Iterator[Client]:
    """Runs a server on a free port in a thread."""
    with Server(demo, "model", "127.0.0.1", 0, **options) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield Client(server)
        server.shutdown()


def small_task(names: list[str]) -> VisionTask:
    spec = {"class_names": names, "mask_names": [], "image_size": 32, "resize": "letterbox"}
    return VisionTask(spec, Backbone("test_resnet", False), {"label": LabelHead}).eval()


def png(size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def huge_png(side: int) -> bytes:
    """A complete PNG file of side x side black pixels, of a few hundred kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A server with a small model whose class names are hostile, and one example."""
    torch.manual_seed(0)
    network = TorchNetwork(small_task([HTML, "b", "</script>"]), "cpu")
    example = Source.of(f"/home/someone/{HTML}.png", lambda: np.full((20, 30, 3), 90, np.uint8))
    with served(Demo(network, examples=[example]), patience=2.0) as one:
        yield one


def is_well(client: Client) -> bool:
    return client("POST", "/predict", png()).status == 200


# Answers


@pytest.mark.parametrize("model", ["all", "label"])
def test_answers_are_those_of_predict(shapes_checkpoints: dict[str, Path], model: str) -> None:
    path = str(shapes_checkpoints[model])
    predictor = Predictor.open(path, device="cpu")
    with served(Demo(open_network(path, device="cpu"))) as client:
        for photo in sorted(shapes_checkpoints["photos"].iterdir())[:4]:
            answer = client("POST", "/predict", photo.read_bytes()).json
            (sample,) = predictor.predict(photo)
            assert answer["record"] == json.loads(json.dumps(record_of(sample, predictor.spec)))
            assert answer["shown"]["label"] == sample["class_name"]
            assert answer["shown"]["size"] == {"height": sample["size"][0], "width": sample["size"][1]}
            if model == "all":
                assert np.abs(np.array(answer["shown"]["bbox"]) - sample["bbox"]).max() <= 0.005
                assert (mask_of(answer) == sample["mask"]).all()


def mask_of(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(picture_of(answer["shown"]["mask"]["data"]))


def picture_of(address: str) -> Image.Image:
    import base64

    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_real_photos_are_answered_as_predict_does(shared_data: Path) -> None:
    photos = sorted((shared_data / "flowers5" / "val").rglob("*.jpg"))[::67]
    network = open_network("tf_efficientnet_lite0", device="cpu", pretrained="bundled")
    predictor = Predictor(network)
    with served(Demo(network)) as client:
        for photo in photos[:3]:
            answer = client("POST", "/predict", photo.read_bytes()).json
            (sample,) = predictor.predict(photo)
            assert answer["record"] == json.loads(json.dumps(record_of(sample, predictor.spec)))


def test_objects_are_answered_as_predict_does(detector_checkpoint: Path, tmp_path: Path) -> None:
    from visiontasks.data import Scenes

    predictor = Predictor.open(str(detector_checkpoint), device="cpu", threshold=0.2)
    demo = Demo(open_network(str(detector_checkpoint), device="cpu"), threshold=0.2)
    scenes = Scenes("val", count=48, size=64, most=3)
    found = 0
    for number in range(4):
        Image.fromarray(scenes.image(number)).save(tmp_path / "one.png")
        answer = demo.predict((tmp_path / "one.png").read_bytes())
        (sample,) = predictor.predict(tmp_path / "one.png")
        rows = record_of(sample, predictor.spec)["objects"]
        assert answer["record"]["objects"] == rows
        assert [one["bbox"] for one in answer["shown"]["objects"]] == [
            [row[name] for name in ("xmin", "ymin", "xmax", "ymax")] for row in rows
        ]
        found += len(rows)
    assert found


def test_an_exported_file_answers_without_grad_cam(exported: Any, shapes_checkpoints: dict[str, Path]) -> None:
    demo = Demo(open_network(str(exported["label.onnx"])))
    photo = (shapes_checkpoints["photos"] / "00.png").read_bytes()
    expected = Demo(open_network(str(shapes_checkpoints["label"]), device="cpu")).predict(photo)["record"]["label"]
    with served(demo) as client:
        assert client("POST", "/predict", photo).json["record"]["label"] == expected
        refused = client("POST", "/explain", photo)
        assert (refused.status, refused.json) == (400, {"error": "Grad-CAM needs a checkpoint that was trained here."})
    assert '"explained":{}' in demo.page("model", MOST)


def test_grad_cam_is_drawn_over_the_whole_image(shapes_checkpoints: dict[str, Path]) -> None:
    demo = Demo(open_network(str(shapes_checkpoints["all"]), device="cpu"))
    photo = (shapes_checkpoints["photos"] / "01.png").read_bytes()
    with served(demo) as client:
        for query in ("", "?key=label&target=1", "?key=bbox", "?key=mask"):
            answer = client("POST", f"/explain{query}", photo)
            assert answer.status == 200, answer.body
            assert picture_of(answer.json["picture"]).size == Image.open(io.BytesIO(photo)).size
        assert client("POST", "/explain?key=value", photo).status == 400
        assert client("POST", "/explain?key=label&target=99", photo).status == 400


def test_weights_are_placed_where_the_model_sees_the_image() -> None:
    weights = np.zeros((4, 4), np.float32)
    weights[:, 2:] = 1
    spec = {"image_size": 4, "resize": "stretch"}
    assert (placed(weights, (4, 8), spec)[:, [0, 2, 5, 7]] == [0, 0, 1, 1]).all()
    cropped = placed(np.ones((4, 4)), (4, 8), {"image_size": 4, "resize": "crop"})
    assert (cropped[:, 2:6] == 1).all()
    assert not cropped[:, [0, 7]].any()
    boxed = placed(weights, (2, 4), {"image_size": 4, "resize": "letterbox"})
    assert (boxed[:, [0, 3]] == [0, 1]).all()


def test_an_example_is_answered_by_its_number(client: Client) -> None:
    answer = client("POST", "/predict?example=0", b"")
    assert answer.status == 200
    assert answer.json["shown"]["size"] == {"height": 20, "width": 30}
    assert client("POST", "/predict?example=1", b"").status == 400


def test_an_example_whose_file_is_gone_is_an_error_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png())
    demo = Demo(TorchNetwork(small_task(["a", "b"]), "cpu"), examples=list(given_sources(tmp_path / "one.png")))
    (tmp_path / "one.png").unlink()
    with served(demo) as client:
        answer = client("POST", "/predict?example=0", b"")
    assert answer.status == 400
    assert str(tmp_path) not in answer.body.decode()


def test_a_large_photo_is_shown_reduced_with_a_box_in_its_own_pixels() -> None:
    assert shown_size(np.zeros((3000, 4000, 3), np.uint8)) == (960, 1280)
    assert shown_size(np.zeros((30, 40, 3), np.uint8)) == (30, 40)
    mask = np.zeros((200, 400), np.uint8)
    mask[:, 200:] = 1
    spec = {"class_names": [], "mask_names": ["a", "b"]}
    shown = shown_of({"size": (200, 400), "mask": mask}, spec, (50, 100))
    small = np.asarray(picture_of(shown["mask"]["data"]))
    assert small.shape == (50, 100)
    assert (small == (np.arange(100) >= 50)).all()
    assert shown["shares"] == {"a": 0.5, "b": 0.5}


def test_outlines_go_around_an_object_and_its_hole() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:25] = True
    mask[8:12, 14:20] = False
    outer, inner = sorted(outlines(mask, 0.5), key=lambda line: -np.ptp(np.array(line)))
    assert (np.min(outer, 0) == (10.5, 5.5)).all()
    assert (np.max(outer, 0) == (24.5, 14.5)).all()
    assert (np.min(inner, 0) > (12, 6)).all()
    assert outlines(np.zeros((4, 4), bool), 0.5) == []


def test_masks_of_objects_take_the_size_of_the_shown_picture() -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 0.6, (40, 2))
    cells = np.clip(8 - np.hypot(*np.mgrid[-8:8, -8:8]) - rng.uniform(0, 4, (40, 1, 1)), -1, 1)  # a disk each
    rows = np.hstack([starts, starts + 0.4, rng.uniform(0.3, 1, (40, 2)), cells.reshape(40, -1)])
    first = np.zeros((1, rows.shape[1]))
    first[0, :2], first[0, 4:6] = 16, 0.5
    outputs = {"objects": np.concatenate([first, rows]).astype(np.float32)}
    spec = {"class_names": ["a", "b"], "image_size": 64, "resize": "letterbox"}
    frame, size = Frame(1500, 2000, 64, "letterbox"), (96, 128)
    expected, found = predict_sample(outputs, frame, spec), predict_reduced(outputs, frame, size, spec)
    assert record_of(found, spec) == record_of(expected, spec)
    whole, small = expected["objects"]["masks"], found["objects"]["masks"]
    assert len(small) == len(whole) > 10
    assert small.shape[1:] == size
    shown = shown_of(found, spec, size)["objects"]
    assert len(shown) == found["objects"]["taken"].sum() > 5
    for one, mask in zip(shown, whole[expected["objects"]["taken"]], strict=True):
        points = np.concatenate([np.array(line) for line in one["polygon"]])
        rows_, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        edges = [columns[0], rows_[0], columns[-1], rows_[-1]]
        np.testing.assert_allclose([*points.min(0), *points.max(0)], edges, atol=2 * 2000 / 128)


def test_several_labels_and_numbers_are_shown_with_what_is_known() -> None:
    spec = {"class_names": [], "mask_names": [], "labels_names": ["tree", "car"], "value_names": ["age", "size"]}
    labels = {
        "labels": np.array([1, 0], np.float32),
        "labels_probabilities": np.array([0.75, 0.25], np.float32),
        "labels_thresholds": np.array([0.5, 0.375], np.float32),
    }
    sample = {"size": (4, 4), **labels, "value": np.array([31.5, np.nan], np.float32)}
    shown = shown_of(sample, spec, (4, 4))
    assert shown["labels"] == {"tree": 0.75, "car": 0.25}
    assert shown["thresholds"] == {"tree": 0.5, "car": 0.375}
    assert shown["value"] == {"age": 31.5}


# The page


def test_names_are_text_on_the_page(client: Client) -> None:
    page = client("GET", "/").body.decode()
    assert HTML not in page
    assert page.count("<script") == page.count("</script>") == 3
    assert "/home/someone" not in page


def test_the_page_may_run_only_its_own_scripts_and_ask_only_its_server(client: Client) -> None:
    answer = client("GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy == content_policy(answer.body.decode())
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client("POST", "/predict", png()).headers["Content-Security-Policy"] == policy


def test_an_example_is_named_without_its_folder() -> None:
    assert name_of(Source.of("/home/me/a.png", lambda: np.zeros((1, 1, 3), np.uint8))) == "a.png"


# Hostile requests: each gets an error, and the next good request an answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", path) for path in ("/predict", "/index.html", "/../../etc/passwd", "/%2e%2e/etc/passwd", "/?a")],
        *[("POST", path) for path in ("/", "/predict/", "/../predict", "/predict/../explain", "/http://a.b/predict")],
    ],
)
def test_other_paths_are_not_there(client: Client, method: str, path: str) -> None:
    answer = client(method, path, png() if method == "POST" else None)
    assert (answer.status, answer.json) == (404, {"error": "There is nothing here."})


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    assert client(method, "/").status == 501
    assert is_well(client)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8000"},
        {"Host": "10.0.0.1:8000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_foreign_hosts_and_pages_are_refused(client: Client, headers: dict[str, str]) -> None:
    answer = client("POST", "/predict", png(), **headers)
    assert answer.status == 403
    assert "error" in answer.json
    if "Host" in headers:
        assert client("GET", "/", **headers).status == 403


def test_the_page_itself_may_ask(client: Client) -> None:
    for host in (f"127.0.0.1:{client.port}", f"localhost:{client.port}", "localhost:9000"):  # a tunnel changes the port
        assert client("POST", "/predict", png(), Host=host, Origin=f"http://{host}").status == 200


def test_a_request_without_a_host_or_with_two_is_refused(client: Client) -> None:
    assert client.raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")
    assert client.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: a.b\r\n\r\n").startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("host", "bound", "own"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("192.168.0.7:8000", "0.0.0.0", True),
        ("192.168.0.7", "127.0.0.1", False),
        ("box.local:8000", "0.0.0.0", False),
        ("box.local:8000", "box.local", True),
        ("mybox.local:8000", "MyBox.local", True),
        ("MYBOX.local", "mybox.local", True),
        ("192.168.0.7:8000", "LocalHost", False),
        ("", "127.0.0.1", False),
    ],
)
def test_a_host_is_own_if_no_foreign_name_can_lead_to_it(host: str, bound: str, own: bool) -> None:
    assert is_own(host, bound) == own


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 411),
        (b"Transfer-Encoding: chunked\r\n", 411),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 411),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: 1_0\r\n", 400),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        (b"Content-Length: 5000\r\n", 400),  # more than what comes
        (b"Content-Length: 20971521\r\n", 413),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", 413),
        (b"X: " + b"9" * 70_000 + b"\r\n", 431),
        (b"".join(b"X%d: 1\r\n" % number for number in range(200)), 431),
    ],
)
def test_a_missing_or_false_length_is_refused(client: Client, lines: bytes, status: int) -> None:
    answer = client.raw(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\nhello", close=True)
    assert answer.startswith(f"HTTP/1.1 {status}".encode()), answer[:300]
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
    assert is_well(client)


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"hello\r\n\r\n", bytes(1000), b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01"]
)
def test_what_is_not_http_does_no_harm(client: Client, data: bytes) -> None:
    client.raw(data, close=True)
    assert is_well(client)


def test_a_body_that_is_too_large_is_refused_with_an_answer(client: Client) -> None:
    answer = client("POST", "/predict", bytes(MOST + 1))
    assert (answer.status, answer.json) == (413, {"error": "The file is larger than 20 MB. Make it smaller."})
    assert is_well(client)


def test_a_huge_image_is_refused_before_it_is_decoded(client: Client) -> None:
    data = huge_png(10_000)
    assert len(data) < 2**20
    start = time.perf_counter()
    answer = client("POST", "/predict", data)
    assert answer.status == 400
    assert "10000x10000 pixels, more than the limit" in answer.json["error"]
    assert time.perf_counter() - start < 2
    assert is_well(client)


@pytest.mark.parametrize("data", [b"no image", b"\xff\xd8\xff" + bytes(100), png()[:2000], png()[:40], b"<svg/>", b""])
def test_what_is_no_image_is_an_error_in_words(client: Client, data: bytes) -> None:
    answer = client("POST", "/predict", data)
    assert answer.status == 400
    assert answer.json["error"].endswith(".")
    assert not any(word in answer.json["error"] for word in ("Traceback", "object at", str(ROOT), "site-packages"))


@pytest.mark.parametrize("query", ["example=-1", "example=x", "example=" + "9" * 400, "target=", "file=a", "a&" * 50])
def test_odd_options_are_refused(client: Client, query: str) -> None:
    assert client("POST", f"/predict?{query}", png()).status in (400, 404)
    assert is_well(client)


@pytest.mark.parametrize("query", ["key=label", "target=3", "example=0&key=label"])
def test_an_option_of_grad_cam_is_refused_elsewhere(
    client: Client, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client("POST", f"/predict?{query}", png())
    name = query.split("&")[-1].partition("=")[0]
    assert (answer.status, answer.json) == (
        400,
        {"error": f"There is no option '{name}' here; this address takes example."},
    )
    assert capsys.readouterr().err == ""


def test_slow_clients_are_let_go_and_block_nobody(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as slow:
        start = time.perf_counter()
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        while time.perf_counter() - start < 1.5:
            slow.sendall(b"x")
            time.sleep(0.1)
        assert is_well(client)
        answer = b"".join(iter(lambda: slow.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.perf_counter() - start < 6


def test_one_byte_now_and_then_does_not_hold_a_connection(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as slow:
        start, ended = time.perf_counter(), False
        while not ended and time.perf_counter() - start < 8:
            try:
                slow.sendall(b"G")
                slow.settimeout(0.2)
                ended = slow.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                ended = True
    assert ended


def test_a_hundred_at_once_are_answered_or_told_to_wait() -> None:
    class Slow(TorchNetwork):
        def __call__(self, images: np.ndarray) -> Any:
            time.sleep(0.05)
            return super().__call__(images)

    demo = Demo(Slow(small_task(["a", "b"]), "cpu"))
    with served(demo, waiting=4) as client, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda number: client("POST", "/predict", png(seed=number)), range(100)))
        assert {answer.status for answer in answers} == {200, 503}
        busy = [answer for answer in answers if answer.status == 503]
        assert all(answer.headers["Retry-After"] == "1" and "busy" in answer.json["error"] for answer in busy)
        assert is_well(client)


def test_an_error_of_the_server_is_printed_and_not_sent(capsys: pytest.CaptureFixture) -> None:
    class Broken(TorchNetwork):
        def __call__(self, images: np.ndarray) -> Any:
            raise RuntimeError("secret of /home/me")

    with served(Demo(Broken(small_task(["a", "b"]), "cpu"))) as client:
        answer = client("POST", "/predict", png())
        assert (answer.status, answer.json) == (500, {"error": "The server failed. Its terminal shows the reason."})
        assert client("GET", "/").status == 200
    printed = capsys.readouterr()
    assert "secret of /home/me" in printed.err
    assert printed.out == ""


# The command


def started(*args: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", "visiontasks.cli", "demo", *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_is_quick() -> None:
    code = "from visiontasks.cli import main\ntry: main(['demo', '--help'])\nexcept SystemExit: pass\n"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}import sys; print(*sys.modules)"], capture_output=True, text=True, cwd=ROOT
    )
    assert "--port" in run.stdout
    assert not {"torch", "numpy", "jinja2"} & set(run.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_the_command_prints_its_address_and_ends_quietly(shapes_checkpoints: dict[str, Path]) -> None:
    import signal

    process = started(shapes_checkpoints["label"].parent / "last.ckpt", "--port", 0)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/")
            page = connection.getresponse().read().decode()
        assert page.count('class="example"') == 12
        taken = started(shapes_checkpoints["label"], "--port", port)
        assert f"--port {port}: cannot listen there" in taken.communicate(timeout=120)[1]
        assert taken.returncode == 2
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)
    finally:
        process.kill()
    assert rest == ("", "")
    assert process.returncode == 0


# A person at a browser


@contextmanager
def opened(browser: Any, client: Client, width: int = 1100, refused: int = 0) -> Iterator[Any]:
    """Opens the page; at the end, nothing was written to the console (but that `refused` requests got the status 400),
    asked elsewhere, or wider than the window."""
    address, faults = f"http://127.0.0.1:{client.port}/", []
    context = browser.new_context(viewport={"width": width, "height": 800}, permissions=["camera"])
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or faults.append(request.url))
    page.goto(address)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
    noted = [fault for fault in faults if "status of 400" in fault]
    assert [fault for fault in faults if fault not in noted] == []
    assert len(noted) == refused


def label_on(page: Any) -> str:
    page.wait_for_selector("body:not(.busy) #result canvas")
    return page.inner_text("#result .answer").replace("\xa0", " ")


def wait_for_name(page: Any, name: str) -> None:
    page.locator("#name").get_by_text(name, exact=True).wait_for()


DROP = """([bytes, name]) => {
  const files = new DataTransfer()
  files.items.add(new File([new Uint8Array(bytes)], name))
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}))
}"""
PASTE = """bytes => {
  const files = new DataTransfer()
  files.items.add(new File([new Uint8Array(bytes)], "pasted.png"))
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true}))
}"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 390])
def test_a_person_picks_drops_and_pastes_an_image_and_sees_the_label(browser: Any, client: Client, width: int) -> None:
    expected = {seed: client("POST", "/predict", png(seed=seed)).json["record"] for seed in range(3)}
    texts = {seed: f"{one['label']}, {100 * one['score']:.1f} %" for seed, one in expected.items()}
    with opened(browser, client, width) as page:
        assert page.is_hidden("#answer")
        page.set_input_files("#file", {"name": HTML, "mimeType": "image/png", "buffer": png(seed=0)})
        assert label_on(page) == texts[0]
        assert page.inner_text("#name") == HTML
        assert "40 x 30 pixels" in page.inner_text("#seconds")
        page.evaluate(DROP, [list(png(seed=1)), "dropped.png"])
        wait_for_name(page, "dropped.png")
        assert label_on(page) == texts[1]
        page.evaluate(PASTE, list(png(seed=2)))
        wait_for_name(page, "pasted.png")
        assert label_on(page) == texts[2]
        page.click("#explain")
        page.wait_for_selector("#heat:not([hidden])")
        assert "Grad-CAM of the predicted class" in page.inner_text("#heattext")
        assert page.locator("#class option").all_inner_texts() == ["the predicted class", HTML, "b", "</script>"]


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_said_and_the_next_one_works(browser: Any, client: Client) -> None:
    with opened(browser, client, refused=1) as page:
        page.evaluate(DROP, [list(b"no image"), "a.png"])
        page.wait_for_selector("#status.wrong")
        assert "not an image of a known format" in page.inner_text("#status")
        page.set_input_files("#file", {"name": "large.png", "mimeType": "image/png", "buffer": bytes(MOST + 1)})
        assert "larger than 20 MB" in page.inner_text("#status")
        page.evaluate(DROP, [list(png()), "b.png"])
        label_on(page)
        assert page.inner_text("#status") == ""


@pytest.mark.slow
def test_the_page_works_with_the_keyboard_and_the_camera(browser: Any, client: Client) -> None:
    with opened(browser, client) as page:
        reached = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert reached == ["theme", "pick", "camera", "example"]
        page.keyboard.press("Enter")
        label_on(page)
        assert page.get_attribute(".example", "aria-pressed") == "true"
        page.click("#camera")
        page.wait_for_selector("#shoot:focus")
        page.keyboard.press("Enter")  # the button to take the picture has the focus
        wait_for_name(page, "Camera")
        label_on(page)
        page.click("#stop")
        assert page.is_hidden("#live")


@pytest.mark.slow
def test_no_camera_stays_on_unseen(browser: Any, client: Client, slow_camera: str) -> None:
    image = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
    with opened(browser, client) as page:
        page.evaluate(slow_camera)
        page.dblclick("#camera")
        assert page.is_disabled("#camera")
        page.wait_for_selector("#shoot:focus")
        assert page.evaluate("cameras()") == ["live"]
        page.click("#stop")
        assert page.evaluate("cameras()") == ["ended"]
        page.click("#camera")
        page.set_input_files("#file", image)  # while the camera is asked for
        page.wait_for_selector("#camera:enabled")
        assert page.is_hidden("#live")
        assert page.evaluate("cameras()") == ["ended"] * 2
        for choose in (lambda: page.click(".example"), lambda: page.set_input_files("#file", image)):
            page.click("#camera")
            page.wait_for_selector("#shoot:focus")
            choose()
            assert page.is_hidden("#live")
        assert page.evaluate("cameras()") == ["ended"] * 4
        page.wait_for_selector("body:not(.busy)")
        assert page.inner_text("#status") == ""
