"""The page that runs an exported model in a browser: it needs no network, and answers as `predict` does."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.page import SHARED
from visiontasks.core.resize import to_picture
from visiontasks.data import Scenes
from visiontasks.export import runtime as module
from visiontasks.export.html import PAGE, page_spec, write_page
from visiontasks.export.runtime import Runtime, cache, read_runtime
from visiontasks.predict import Predictor
from visiontasks.predict.onnx_network import OnnxNetwork
from visiontasks.targets import find_target

HOSTILE = "</script><img src=x onerror=alert(1)>&'\""
FAKE = Runtime(b"export default 1", b"\0asm")
FLOWERS = Path(__file__).parents[1] / "data" / "flowers5"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def write_model(path: Path, names: list[str]) -> Path:
    """Writes an ONNX file like those of `export`, whose probabilities are the mean of the pixels, 0..1."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "most"], ["label"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 3, 8, 8])
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, ["n", 3])
    most = helper.make_tensor("most", TensorProto.FLOAT, [], [255.0])
    graph = helper.make_graph(nodes, "graph", [image], [label], [most])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    spec = {"class_names": names, "image_size": 8, "resize": "stretch"}
    described = {"spec": spec, "keys": ["label"], "any_size": False, "resizes": False}
    helper.set_model_props(model, {"visiontasks": json.dumps(described)})
    onnx.save(model, str(path))
    return path


def write_busy_model(path: Path) -> Path:
    """Writes an ONNX file that finds nine classes, by the colors, and always two cars."""
    names = [*"abcdefgh", "car"]
    rows = np.zeros((1, 3, 13), np.float32)
    rows[0, 0, 4:], rows[0, 1:, 12] = 0.5, (0.9, 0.8)
    rows[0, 1, :4], rows[0, 2, :4] = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["mean"] * 3, ["all"], axis=1),
        helper.make_node("Div", ["all", "most"], ["label"]),
        helper.make_node("Identity", ["rows"], ["objects"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 3, 8, 8])]
    shapes = {"label": ["n", 9], "objects": ["n", 3, 13]}
    outputs = [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in shapes.items()]
    most = helper.make_tensor("most", TensorProto.FLOAT, [], [255.0])
    constants = [most, helper.make_tensor("rows", TensorProto.FLOAT, rows.shape, rows.ravel())]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    described = {"spec": {"class_names": names, "image_size": 8, "resize": "stretch"}, "keys": list(shapes)}
    helper.set_model_props(model, {"visiontasks": json.dumps({**described, "any_size": False, "resizes": False})})
    onnx.save(model, str(path))
    return path


def run_script(code: str, content: dict[str, Any]) -> Any:
    """Runs code with the scripts of the page in node; `given` is the content, and what `answer` gets is returned."""
    scripts = [(PAGE.parent / name).read_text("utf-8") for name in ("resize.js", "targets.js")]
    start = 'const given = JSON.parse(require("fs").readFileSync(0)), answer = x => console.log(JSON.stringify(x))\n'
    start += 'const bytes = text => Uint8Array.from(Buffer.from(text, "base64"))\n'
    start += "const floats = ({dims, data}) => ({dims, data: new Float32Array(bytes(data).buffer)})\n"
    start += 'const text = data => Buffer.from(data).toString("base64")\n'
    command = ["node", "-e", "\n".join([*scripts, start, code])]
    run = subprocess.run(command, input=json.dumps(content), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def test_a_page_names_no_address_and_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / "a<b>&c.html"
    model = write_model(tmp_path / "m.onnx", [HOSTILE, "b", "c"])
    size = write_page(model, path, FAKE)
    page = path.read_text("utf-8")
    assert size == path.stat().st_size
    assert "://" not in page  # no address; base64 has no colon
    assert "default-src 'none'" in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 6
    assert "<title>a&lt;b&gt;&amp;c</title>" in page
    assert "Copyright (c) Microsoft Corporation" in page
    spec = json.loads(page.partition('id="spec">')[2].partition("</script>")[0])
    assert spec == page_spec(OnnxNetwork(str(model)))
    assert spec["names"] == {"label": [HOSTILE, "b", "c"]}


def test_scripts_make_no_html_of_text() -> None:
    for path in [*SHARED.glob("*.js"), *PAGE.parent.glob("*.js")]:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|fetch\(", path.read_text("utf-8"))


def test_a_page_is_the_same_for_the_same_model(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", ["a", "b", "c"])
    for _ in range(2):
        write_page(model, tmp_path / "page.html", FAKE)
        first = (tmp_path / "page.html").read_bytes()
    assert first == (tmp_path / "page.html").read_bytes()


def test_a_file_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    model, path = write_model(tmp_path / "m.onnx", ["a", "b", "c"]), tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="no earlier run wrote it"):
        write_page(model, path, FAKE)
    assert path.read_text() == "mine"
    with pytest.raises(InputError, match="ends with"):
        write_page(model, tmp_path / "page.txt", FAKE)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "onnxruntime-web.tgz"
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"not the archive of onnxruntime-web@.* SHA-512 is .* expected"):
        read_runtime(path)
    with pytest.raises(InputError, match="no such file"):
        read_runtime(tmp_path / "missing.tgz")


def test_without_npm_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"there is no npm.*--ort_web FILE"):
        read_runtime()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no network >&2; exit 1", "npm cannot fetch onnxruntime-web@.*no network"),
        ("exit 0", "no file"),
        (f"echo bad > onnxruntime-web-{module.VERSION}.tgz", "not the archive"),
    ],
)
def test_what_npm_fetches_is_checked(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=message):
        read_runtime()
    assert "Fetching onnxruntime-web@" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_dir() and path.name != "visiontasks"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "pt2"], "a browser runs ONNX files only"),
        (["--int8"], "m.onnx: is exported already"),
        (["--output", "page.htm"], "ends with .html"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(write_model(tmp_path / "m.onnx", ["a", "b", "c"])), "--html", *options])
    assert message in capsys.readouterr().err


@needs_node
def test_the_page_resizes_as_predict_does() -> None:
    rng = np.random.default_rng(0)
    cases = []
    for number in range(24):
        size = [int(side) for side in rng.integers(16, 120, 2)]
        shape = [int(side) for side in rng.integers(90, 300, 2)]
        if number % 4 == 0:  # whole blocks of pixels
            shape = [side * (2 + number % 3) for side in size]
        spec = {"image_size": size, "resize": ("stretch", "letterbox", "crop")[number % 3]}
        spec |= {"crop_share": 0.875} if number % 2 else {}
        cases.append((rng.integers(0, 256, (*shape, 3), np.uint8), spec))
    given = [
        {"height": len(image), "width": image.shape[1], "spec": spec, "data": packed(with_alpha(image))}
        for image, spec in cases
    ]
    code = "answer(given.map(({spec, data, ...image}) => text(toPicture({...image, data: bytes(data)}, spec).data)))"
    for (image, spec), found in zip(cases, run_script(code, given), strict=True):
        expected = to_picture(image, spec).transpose(2, 0, 1)
        pixels = np.frombuffer(base64.b64decode(found), np.uint8).reshape(expected.shape)
        np.testing.assert_array_equal(pixels, expected, err_msg=f"{image.shape} {spec}")


def with_alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


FRAMES = [Frame(50, 90, (32, 32), mode) for mode in ("stretch", "letterbox", "crop")] + [Frame(32, 32, (32, 32))]


def page_prediction(key: str, output: np.ndarray, frame: Frame, names: list[str]) -> dict[str, Any]:
    sides = {"height": frame.height, "width": frame.width, "size": frame.size, "mode": frame.mode}
    given = {"key": key, "names": names, "frame": sides, "output": {"dims": output.shape, "data": packed(output)}}
    code = """const found = TARGETS[given.key](floats(given.output), given.frame, given.names)
    for (const one of [found, ...(found.objects || [])]) if (one.mask) one.mask.data = text(one.mask.data)
    answer(found)"""
    return run_script(code, given)


def pixels_of(mask: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(mask["data"]), np.uint8).reshape(mask["height"], mask["width"])


@needs_node
def test_the_page_decides_as_the_target_kinds() -> None:
    output = np.array([0.25, 0.5, 0.25], np.float32)
    found = page_prediction("label", output, FRAMES[0], ["a", "b", "c"])
    assert found == {"label": "b", "score": 0.5, "probabilities": {"a": 0.25, "b": 0.5, "c": 0.25}}
    found = page_prediction("label", np.float32([0.5, 0.5]), FRAMES[0], ["a", "b"])
    assert found["label"] == "a"  # the first of equal ones
    found = page_prediction("labels", np.float32([[0.5, 0.25], [0.5, 0.375]]), FRAMES[0], ["a", "b"])
    assert found == {"labels": {"a": 0.5, "b": 0.25}, "thresholds": {"a": 0.5, "b": 0.375}}
    assert page_prediction("value", np.float32([2.5]), FRAMES[0], ["age"]) == {"value": {"age": 2.5}}


@needs_node
@pytest.mark.parametrize("frame", FRAMES)
def test_the_page_restores_boxes_and_masks(frame: Frame) -> None:
    rng = np.random.default_rng(0)
    box = np.float32([0.1, 0.25, 0.93, 1.02])
    expected = find_target("bbox").prediction(box, frame, [])["bbox"]
    np.testing.assert_allclose(page_prediction("bbox", box, frame, [])["bbox"], expected, atol=1e-3)
    absent = page_prediction("bbox", np.float32([*box, 0.4, 0.5]), frame, [])
    assert absent == {"bbox": None, "presence": pytest.approx(0.4)}
    scores = rng.normal(size=(4, 32, 32)).astype(np.float32)
    expected = find_target("mask").prediction(scores, frame, ["a", "b", "c", "d"])["mask"]
    found = page_prediction("mask", scores, frame, ["a", "b", "c", "d"])
    assert (pixels_of(found["mask"]) == expected).mean() >= 0.999
    assert found["shares"]["b"] == pytest.approx((expected == 1).mean(), abs=1e-3)


@needs_node
@pytest.mark.parametrize("frame", FRAMES)
def test_the_page_finds_the_same_objects(frame: Frame) -> None:
    rng = np.random.default_rng(1)
    centers = rng.uniform(0.2, 0.8, (12, 2)).repeat(5, 0) + rng.normal(0, 0.01, (60, 2))
    boxes = np.hstack([centers - 0.12, centers + 0.12])
    rows = np.hstack([boxes, rng.uniform(0, 1, (60, 3)), rng.normal(size=(60, 64))])
    first = np.zeros((1, rows.shape[1]))
    first[0, :2], first[0, 4:7] = 8, (0.3, 0.5, 0.7)
    output = np.concatenate([first, rows]).astype(np.float32)
    names = ["a", "b", "c"]
    expected = find_target("objects").prediction(output, frame, names)["objects"]
    found = page_prediction("objects", output, frame, names)["objects"]
    taken = np.flatnonzero(expected["taken"])
    assert len(found) == len(taken) > 5
    for one, place in zip(found, taken, strict=True):
        assert one["label"] == names[expected["labels"][place]]
        assert one["score"] == pytest.approx(float(expected["scores"][place]), abs=1e-6)
        np.testing.assert_allclose(one["bbox"], expected["boxes"][place], atol=1e-2)
        whole, mask = np.zeros((frame.height, frame.width), bool), one["mask"]
        part = np.s_[mask["top"] : mask["top"] + mask["height"], mask["left"] : mask["left"] + mask["width"]]
        whole[part] = pixels_of(mask)
        assert (whole ^ expected["masks"][place]).sum() <= 2


@pytest.fixture(scope="session")
def real() -> Runtime:
    if not (cache() / f"onnxruntime-web-{module.VERSION}.tgz").is_file():
        pytest.skip("onnxruntime-web is not in the cache; `visiontasks export MODEL --html` fetches it")
    return read_runtime()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[[Path], Any]]:
    """Opens a page from the disk without a network; at the end it has had no error and has asked for nothing else."""
    context = browser.new_context(offline=True)
    faults, requests = [], []

    def open_one(path: Path) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.evaluate("ready")
        return page

    yield open_one
    context.close()
    assert not faults
    assert {url.partition(":")[0] for url in requests} <= {"file", "blob", "data"}


FOUND = """async data => {
  const blob = new Blob([Uint8Array.from(atob(data), sign => sign.charCodeAt(0))])
  const found = await predictImage(network, pixelsOf(await readImage(blob)))
  const text = data => btoa(data.reduce((all, value) => all + String.fromCharCode(value), ""))
  for (const one of [found, ...(found.objects || [])]) if (one.mask) one.mask.data = text(one.mask.data)
  return found
}"""


def predictions(page: Any, paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yields what the page finds in images."""
    return (page.evaluate(FOUND, base64.b64encode(path.read_bytes()).decode()) for path in paths)


@pytest.mark.slow
@pytest.mark.skipif(not FLOWERS.is_dir(), reason="data/flowers5 is missing")
def test_a_page_labels_300_photos_as_predict_does(real: Runtime, open_page: Any, tmp_path: Path) -> None:
    config = ["-c", "classification/flowers5.yaml", "--data.dataset.root", str(FLOWERS), "--data.image_size", "96"]
    main(["probe", *config, "--trainer.default_root_dir", str(tmp_path)])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    path = tmp_path / "page.html"
    main(["export", str(checkpoint), "--html", "--output", str(path), "--images", "32"])
    assert path.stat().st_size < 25e6
    photos = sorted((FLOWERS / "val").rglob("*.jpg"))
    expected = Predictor.open(str(tmp_path / "page.int8.onnx")).predict(photos)
    pairs = list(zip(predictions(open_page(path), photos), expected, strict=True))
    assert len(pairs) == 300
    assert sum(found["label"] == one["class_name"] for found, one in pairs) == 300
    assert max(abs(found["score"] - one["score"]) for found, one in pairs) < 0.01


@pytest.mark.slow
def test_a_page_finds_boxes_and_masks_as_predict_does(
    real: Runtime, open_page: Any, exported: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    write_page(exported["all.onnx"], tmp_path / "page.html", real)
    photos = sorted(shapes_checkpoints["photos"].iterdir())
    expected = Predictor.open(str(exported["all.onnx"])).predict(photos)
    for found, one in zip(predictions(open_page(tmp_path / "page.html"), photos), expected, strict=True):
        assert found["label"] == one["class_name"]
        np.testing.assert_allclose(found["bbox"], one["bbox"], atol=1)
        assert (pixels_of(found["mask"]) == one["mask"]).mean() >= 0.999


@pytest.mark.slow
def test_a_page_finds_objects_as_predict_does(
    real: Runtime, open_page: Any, detector_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    main(["export", str(detector_checkpoint), "--html", "--output", str(path)])
    (model,) = tmp_path.glob("*.onnx")
    scenes = Scenes("test", count=48, size=64, most=3, objects="all", radii=[0.15, 0.3], difficulty=0)
    photos = [tmp_path / f"{number}.png" for number in range(12)]
    for number, photo in enumerate(photos):
        Image.fromarray(scenes.image(number)).save(photo)
    count = 0
    for found, one in zip(
        predictions(open_page(path), photos), Predictor.open(str(model)).predict(photos), strict=True
    ):
        taken = np.flatnonzero(one["objects"]["taken"])
        assert len(found["objects"]) == len(taken)
        count += len(taken)
        for object_, place in zip(found["objects"], taken, strict=True):
            assert object_["label"] == scenes.class_names[one["objects"]["labels"][place]]
            np.testing.assert_allclose(object_["bbox"], one["objects"]["boxes"][place], atol=1)
    assert count > 5


@pytest.mark.slow
def test_a_page_shows_images_and_says_which_it_cannot_read(real: Runtime, open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(write_model(tmp_path / "m.onnx", ["reddish", HOSTILE, "blue"]), path, real)
    red, green = tmp_path / "red.png", tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(red)
    Image.new("RGB", (40, 30), (10, 200, 10)).save(green)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    page = open_page(path)
    page.set_input_files("#files", [red, green, tmp_path / "broken.jpg"])
    page.evaluate("busy")
    assert page.inner_text("#result .answer").startswith("reddish, 78.4")
    assert "broken.jpg: not an image" in page.inner_text(".failed")
    assert page.locator("#strip img, #shown img").count() == 0
    page.locator("#strip button").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    assert page.inner_text("#name") == green.name
    assert page.inner_text("#result .answer").startswith(HOSTILE)
    assert page.inner_text("#status").startswith("3 images")


@pytest.mark.slow
def test_transparent_and_turned_images_are_read_as_by_predict(real: Runtime, open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    model = write_model(tmp_path / "m.onnx", ["a", "b", "c"])
    write_page(model, path, real)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 8, 4), np.uint8)).save(tmp_path / "clear.png")
    Image.fromarray(rng.integers(0, 256, (11, 9), np.uint8)).save(tmp_path / "gray.png")
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray((np.mgrid[:60, :90, :3].sum(0) * 1.6).astype(np.uint8))
    turned.save(tmp_path / "turned.jpg", exif=exif)
    photos = [tmp_path / name for name in ("clear.png", "gray.png", "turned.jpg")]
    page = open_page(path)
    for photo, found in zip(photos, predictions(page, photos), strict=True):
        (one,) = Predictor.open(str(model)).predict(photo)
        np.testing.assert_allclose(list(found["probabilities"].values()), one["probabilities"], atol=0.5 / 255)
    sizes = page.evaluate(
        "data => readImage(new Blob([Uint8Array.from(atob(data), sign => sign.charCodeAt(0))]))"
        ".then(image => [image.width, image.height])",
        base64.b64encode(photos[2].read_bytes()).decode(),
    )
    assert sizes == [60, 90]


@pytest.mark.slow
def test_a_person_uses_the_panel_while_the_camera_runs(
    real: Runtime, open_page: Any, slow_camera: str, tmp_path: Path
) -> None:
    path, photo = tmp_path / "page.html", tmp_path / "a.png"
    write_page(write_busy_model(tmp_path / "m.onnx"), path, real)
    Image.new("RGB", (40, 30), (200, 10, 10)).save(photo)
    page = open_page(path)
    page.evaluate(slow_camera)
    page.dblclick("#camera")
    assert page.is_disabled("#camera")
    page.wait_for_selector("#result canvas")
    assert page.evaluate("cameras()") == ["live"]
    seen = "document.querySelector('#result canvas').toDataURL()"
    for press in (".more", ".overlay", "[data-object='1']"):
        page.click(f"#result {press}")
        assert page.evaluate("document.activeElement.matches('#result button')")
        before = page.evaluate(seen)
        page.wait_for_function(f"before => {seen} !== before", arg=before)
    assert page.locator("#result .part").first.locator("li:visible").count() == 9
    assert page.get_attribute("#result .more", "aria-expanded") == "true"
    assert page.get_attribute("#result .overlay", "aria-pressed") == "false"
    pressed = [row.get_attribute("aria-pressed") for row in page.locator("#result button.line").all()]
    assert pressed == ["false", "true"]
    assert page.inner_text("#status").endswith("images per second")
    page.click("#camera")
    assert page.inner_text("#camera") == "Use the camera"
    page.click("#camera")
    page.set_input_files("#files", photo)  # while the camera is asked for
    page.wait_for_selector("#camera:enabled")
    page.evaluate("busy")
    assert page.inner_text("#name") == "a.png"
    assert page.evaluate("cameras()") == ["ended"] * 2
    page.click("#camera")
    page.wait_for_selector("#camera[aria-pressed=true]")
    page.evaluate("document.querySelector('#strip button').click()")  # the strip shows from the second image on
    page.wait_for_selector("#camera[aria-pressed=false]")
    assert page.evaluate("cameras()") == ["ended"] * 3
