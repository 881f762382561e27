"""What is done with a model afterwards: every kind of source, files that are whole, views, tiles, odd input."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import visiontasks
from visiontasks.cli import main
from visiontasks.cli.arguments import parse
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv
from visiontasks.core.geometry import Frame
from visiontasks.core.lock import lock
from visiontasks.core.outputs import RECORD
from visiontasks.data import Splits
from visiontasks.data.datasets import CocoBoxes, CocoMasks
from visiontasks.predict import Predictor
from visiontasks.predict.augmentation import TestTimeAugmentation
from visiontasks.predict.find import find_sources
from visiontasks.predict.segmentation import SEGMENTATIONS
from visiontasks.predict.sources import given_sources
from visiontasks.targets.mask import restore_mask
from visiontasks.targets.sample import Outputs, predict_samples

ROOT = Path(__file__).parents[1]


def names(sources: Iterable[Any]) -> list[str]:
    return [source.name for source in sources]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def predict(shapes_checkpoints: dict[str, Path], tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Runs the command on the CPU and returns the rows of its table."""

    def run(*args: Any, model: str = "all", output: str = "out") -> list[dict[str, str]]:
        main(["predict", str(shapes_checkpoints[model]), *map(str, args), "--output", str(tmp_path / output)])
        return table(tmp_path / output)

    return run


def error_of(capsys: pytest.CaptureFixture, run: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(*args)
    assert stopped.value.code == 2
    return capsys.readouterr().err


# Sources


def touch(folder: Path, *files: str) -> list[Path]:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in files]


def test_a_folder_is_listed_in_string_order_and_a_file_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/10.JPG", "b/c/1.tiff", "b/notes.txt", "b/.hidden.png", "z.webp")
    Image.new("RGB", (4, 4)).save(tmp_path / "raw.data", "PNG")
    (tmp_path / "b" / "folder.png").mkdir()
    found = find_sources([str(tmp_path / "z.webp"), tmp_path / "b", tmp_path / "raw.data"])
    assert found.paths == [tmp_path / name for name in ("z.webp", "b/10.JPG", "b/2.jpg", "b/c/1.tiff", "raw.data")]
    assert found.count() == 5


def test_links_are_followed_once_and_hidden_folders_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "set/a/1.jpg", "far/2.jpg", "set/.thumbs/1.jpg")
    (tmp_path / "set/b").symlink_to(tmp_path / "far")
    (tmp_path / "far/up").symlink_to(tmp_path / "set")
    assert find_sources([tmp_path / "set"]).paths == [tmp_path / "set/a/1.jpg", tmp_path / "set/b/2.jpg"]


def test_a_pattern_finds_files_at_any_depth_and_odd_names_are_no_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/b/2.jpg", "a/3.png", "a/[x].jpg")
    assert find_sources([f"{tmp_path}/a/*.jpg"]).paths == [tmp_path / "a/1.jpg", tmp_path / "a/[x].jpg"]
    assert find_sources([f"{tmp_path}/**/*.jpg"]).count() == 3
    assert find_sources([f"{tmp_path}/a/[x].jpg"]).paths == [tmp_path / "a/[x].jpg"]
    with pytest.raises(InputError, match=r"gone\*: no such file or folder"):
        find_sources([f"{tmp_path}/gone*"])
    with pytest.raises(InputError, match="matches only folders"):
        find_sources([f"{tmp_path}/a*"])


def test_a_list_has_a_path_a_line_from_its_own_folder(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    touch(tmp_path, "set/a.png", "set/b c.png", f"set/{odd}")
    (tmp_path / "set/list.txt").write_bytes(b"b c.png\n\na.png\r\ncaf\xe9.png\n")
    found = find_sources([tmp_path / "set/list.txt"])
    assert found.paths == [tmp_path / "set" / name for name in ("b c.png", "a.png", odd)]
    (tmp_path / "set/wrong.txt").write_text("a.png\nhello\n")
    with pytest.raises(InputError, match=r"wrong\.txt, line 2: no such file: '.*hello'\. Expected one path"):
        find_sources([tmp_path / "set/wrong.txt"])
    (tmp_path / "set/windows.txt").write_text("a.png\n", "utf-8-sig")
    assert find_sources([tmp_path / "set/windows.txt"]).paths == [tmp_path / "set/a.png"]
    touch(tmp_path, "none.txt")
    with pytest.raises(InputError, match=r"none\.txt: empty; expected the path of one image per line"):
        find_sources([tmp_path / "none.txt"])


def test_a_dash_reads_paths_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = touch(tmp_path, "a.png")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{path}\n".encode())))
    assert find_sources(["-"]).paths == [path]


def test_a_named_file_that_is_no_image_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, "photos.zip", "a.docx", "set/a.tar.gz", "set/b.txt", "photo.heic")
    message = r"photos\.zip: an archive, not an image\. Unpack it, and give the folder\.$"
    with pytest.raises(InputError, match=message):
        find_sources([tmp_path / "photos.zip"])
    with pytest.raises(InputError, match=r"a\.docx: not an image \(\.jpg, .*\)\. Convert it, or leave it out\.$"):
        find_sources([tmp_path / "a.docx"])
    with pytest.raises(InputError, match=r"photo\.heic: not an image \(\.jpg"):
        find_sources([tmp_path / "photo.heic"])
    with pytest.raises(InputError, match=r"a\.docx: not an image .* Neither are \S+photo\.heic, \S+photos\.zip\.$"):
        find_sources([f"{tmp_path}/*.*"])
    with pytest.raises(InputError, match=r"set: no images \(.*\) in this folder\. Unpack \S+/set/a\.tar\.gz\.$"):
        find_sources([tmp_path / "set"])
    assert find_sources([tmp_path / "photos.zip"], missing=True).count() == 1  # left out when it is read


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no images"):
        find_sources([tmp_path / "empty"])
    for gone in ("gone", "x" * 300):
        with pytest.raises(InputError, match=rf"{gone}: no such file or folder"):
            find_sources([tmp_path / gone])


def test_python_gives_paths_pillow_images_and_arrays(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
    Image.fromarray(pixels[0]).save(path := tmp_path / "a.png")
    turned = Image.fromarray(np.rot90(pixels[1]))
    turned.getexif()[274] = 6
    sources = list(given_sources([str(path), path, turned, pixels[2], Image.fromarray(pixels[2][..., 0])]))
    assert names(sources) == [str(path), str(path), "image 2", "image 3", "image 4"]
    expected = [pixels[0], pixels[0], pixels[1], pixels[2], np.dstack([pixels[2][..., 0]] * 3)]
    for source, image in zip(sources, expected, strict=True):
        np.testing.assert_array_equal(source.read(), image)
    for one in (str(path), turned, pixels[2]):
        assert len(list(given_sources(one))) == 1
    assert len(list(given_sources(pixels))) == 3


@pytest.mark.parametrize(
    "array",
    [
        *(np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)),
        *(np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7),
    ],
    ids=["float", "gray", "channels first", "alpha", "empty", "number"],
)
def test_an_array_of_another_form_is_refused_with_its_form(array: Any) -> None:
    (source,) = given_sources([array])
    with pytest.raises(InputError, match=r"image 0: expected a path, .* uint8 \(H, W, 3\); found (uint8|float64|int)"):
        source.read()


def test_a_model_reads_16_bit_images_as_it_did_in_training(tmp_path: Path, shapes_checkpoints: dict[str, Path]) -> None:
    values = np.linspace(0, 4095, 1600).reshape(40, 40).astype(np.uint16)
    image = Image.fromarray(values)
    image.save(path := tmp_path / "a.png")
    predictor = Predictor.open(str(shapes_checkpoints["label"]))
    with pytest.raises(InputError, match=r"a\.png: 16-bit pixel values end at 4095"):
        predictor.predict(path)
    with pytest.raises(InputError, match="image 0: 16-bit pixel values end at 4095"):
        predictor.predict(image)
    predictor.spec["gray_range"] = [0, 4095]
    gray = np.rint(values / 4095 * 255).astype(np.uint8)
    found, again, expected = predictor.predict([path, image, np.dstack([gray] * 3)])
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"])
    np.testing.assert_array_equal(again["probabilities"], expected["probabilities"])


def test_a_model_reads_the_page_that_it_was_trained_on(tmp_path: Path, shapes_checkpoints: dict[str, Path]) -> None:
    first, second = (Image.open(path) for path in sorted(shapes_checkpoints["photos"].iterdir())[:2])
    first.save(path := tmp_path / "a.tif", save_all=True, append_images=[second])
    predictor = Predictor.open(str(shapes_checkpoints["label"]))
    predictor.spec["page"] = 2
    found, expected = predictor.predict([path, second])
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"])
    first.save(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"b\.tif: no page 2; the file has 1"):
        predictor.predict(tmp_path / "b.tif")


# Videos


def test_a_video_is_its_frames(tmp_path: Path, write_video: Any) -> None:
    grays = write_video(path := tmp_path / "clip.mp4")
    sources = find_sources([path])
    frames = list(sources)
    assert names(frames) == [f"{path}#{number:06d}" for number in range(10)]
    for frame, gray in zip(frames, grays, strict=True):
        assert frame.read().shape == (32, 64, 3)
        assert frame.read()[:, 40:].mean() == pytest.approx(gray, abs=6)
    assert sources.count() == 10
    some = find_sources([path], every=4)
    assert names(some) == [f"{path}#{number:06d}" for number in (0, 4, 8)]
    assert some.count() == 3


def test_a_turned_video_is_upright(tmp_path: Path, write_video: Any) -> None:
    write_video(path := tmp_path / "clip.mp4", turned=True)
    image = list(find_sources([path]))[5].read().astype(int)
    assert image.shape == (64, 32, 3)
    assert image[:30].mean() - image[34:].mean() == pytest.approx(15, abs=4)  # left is up, after a quarter to the right


@pytest.mark.parametrize(
    "text",
    [
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/hostname\n",
    ],
)
def test_a_text_named_as_a_video_opens_no_address(tmp_path: Path, text: str) -> None:
    (tmp_path / "live.mp4").write_text(text)
    start = time.monotonic()
    (source,) = find_sources([tmp_path / "live.mp4"])
    with pytest.raises(InputError, match=r"live\.mp4: broken or truncated video"):
        source.read()
    assert time.monotonic() - start < 8  # FFmpeg waits for 10 s


@pytest.mark.parametrize("name", ["live.mp4", "live.png"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for given in (tmp_path / name, *[tmp_path] * name.endswith("png")):
        sources = find_sources([given])
        assert sources.count() in (1, None)
        with pytest.raises(InputError, match=f"{name}: not a regular file"):
            next(iter(sources)).read()


def test_a_broken_video_is_named_and_can_be_left_out(
    tmp_path: Path, predict: Any, capsys: Any, write_video: Any
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(200)))
    message = error_of(capsys, predict, tmp_path / "broken.mp4")
    assert "broken.mp4: broken or truncated video" in message
    write_video(good := tmp_path / "good.mp4", 3)
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path / "broken.mp4", good, "--skip-errors")
    assert stopped.value.code == 3
    assert [row["path"] for row in table(tmp_path / "out")] == [f"{good}#{number:06d}" for number in range(3)]


# The command


def test_every_input_is_named_once_in_order_whatever_the_batch(
    predict: Any, shapes_checkpoints: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    photos = sorted(shapes_checkpoints["photos"].iterdir(), reverse=True)
    whole = predict(*photos, "--batch_size", 32, output="32")
    assert "12 predictions in" in (printed := capsys.readouterr().out)
    assert "images/s)" in printed
    assert [row["path"] for row in whole] == [str(path) for path in photos]
    for options in (["--batch_size", 1], ["--batch_size", 5, "--num_workers", 0], ["--num_workers", 4]):
        again = predict(*photos, *options, output="again")
        for one, other in zip(whole, again, strict=True):
            assert [one[key] for key in ("path", "label")] == [other[key] for key in ("path", "label")]
            for key in ("score", "xmin", "ymin", "xmax", "ymax", "share of background"):
                assert float(one[key]) == pytest.approx(float(other[key]), abs=0.011)


def test_the_files_say_the_same(predict: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    rows = predict(shapes_checkpoints["photos"], "--probabilities", "--overlays")
    lines = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 12
    for row, line in zip(rows, lines, strict=True):
        assert line.keys() - row.keys() == {"height", "width"}
        assert row == {name: str(line[name]) for name in row}
        assert line["score"] == max(value for name, value in line.items() if name.startswith("probability of "))
        assert 0 <= line["xmin"] < line["xmax"] <= line["width"]
        assert 0 <= line["ymin"] < line["ymax"] <= line["height"]
        with Image.open(tmp_path / "out" / line["mask"]) as mask:
            assert mask.size == (line["width"], line["height"])
            share = (np.asarray(mask) == 0).mean()
        assert line["share of background"] == pytest.approx(share, abs=1e-6)
    assert len(list((tmp_path / "out/overlays").iterdir())) == 12
    coco = CocoBoxes("train", str(tmp_path / "out/predictions.json"), "/", boxes="clip", splits=Splits(val=0.0))
    assert coco.name(0) == rows[0]["path"]
    hidden = [path.name for path in (tmp_path / "out").rglob("*") if ".part" in path.name or path.name.startswith(".")]
    assert hidden == [RECORD]


def odd_files(folder: Path) -> dict[str, Path]:
    """One of each kind of input that is no usual photo; those that cannot be read by the word of their message."""
    folder.mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "good.png")
    Image.effect_noise((64, 64), 80).save(folder / "truncated.jpg")
    content = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.jpg").touch()
    chunks = (b"IHDR" + (65536).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0", b"IDAT" + zlib.compress(b"0"), b"IEND")
    parts = ((len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks)
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(folder / "16bit.png")
    Image.new("RGB", (20, 20), "blue").save(folder / os.fsdecode(b"caf\xe9.png"))
    words = {
        "truncated": "truncated",
        "text": "not an image",
        "empty": "the file is empty",
        "huge": "limit of",
    }
    return {word: next(folder.glob(f"{name}.*")) for name, word in words.items()}


def test_what_cannot_be_read_stops_the_run_with_its_name(tmp_path: Path, predict: Any, capsys: Any) -> None:
    for word, path in odd_files(tmp_path / "odd").items():
        message = error_of(capsys, predict, tmp_path / "odd/good.png", path)
        assert path.name in message
        assert word in message
        assert not (tmp_path / "out/predictions.csv").exists()


def test_what_cannot_be_read_is_left_out_and_listed_when_asked(tmp_path: Path, predict: Any, capsys: Any) -> None:
    bad = odd_files(tmp_path / "odd")
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path / "odd", "--skip-errors", "--batch_size", 2)
    assert stopped.value.code == 3
    printed = capsys.readouterr().out
    assert "4 left out:" in printed
    assert all(path.name in printed and word in printed for word, path in bad.items())
    # a name that is not UTF-8 is escaped, 16 bits are scaled
    assert [Path(row["path"]).name for row in table(tmp_path / "out")] == ["16bit.png", "caf\\udce9.png", "good.png"]


def test_what_is_missing_can_be_left_out_too(tmp_path: Path, predict: Any, capsys: Any) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "good.png")
    (tmp_path / "list.txt").write_text("gone.png\ngood.png\n")
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path / "list.txt", tmp_path / "lost.png", "--skip-errors")
    assert stopped.value.code == 3
    printed = capsys.readouterr().out
    assert "2 left out:" in printed
    assert all(f"{tmp_path / name}: no such file" in printed for name in ("gone.png", "lost.png"))
    assert len(table(tmp_path / "out")) == 1


def test_what_was_predicted_before_a_bad_file_is_kept(tmp_path: Path, predict: Any, capsys: Any) -> None:
    good = [tmp_path / f"{number}.png" for number in range(5)]
    for path in good:
        Image.new("RGB", (40, 40), "red").save(path)
    (tmp_path / "bad.png").touch()
    assert "bad.png" in error_of(capsys, predict, *good, tmp_path / "bad.png", good[0])
    lines = (tmp_path / "out/predictions.csv.part").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(path) for path in good]


def test_all_files_that_cannot_be_read_are_named_when_the_first_ends_the_run(
    tmp_path: Path, predict: Any, capsys: Any
) -> None:
    for path in touch(tmp_path / "in", "a.png", "c.png", "z.png"):
        Image.new("RGB", (40, 40), "red").save(path)
    bad = touch(tmp_path / "in", "b.png", "d.heic", *(f"e{number:02d}.png" for number in range(12)))
    (tmp_path / "in/b.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:60])  # its header is whole
    touch(tmp_path / "in", "notes.txt")
    error = error_of(capsys, predict, tmp_path / "in")
    assert f"{bad[0]}: broken or truncated image" in error
    assert f"13 more cannot be read: {', '.join(map(str, bad[1:11]))}, .... " in error
    assert "out/skipped.csv has the reasons. `--skip_errors` leaves out" in error
    rows = read_csv(tmp_path / "out/skipped.csv")
    assert [row["path"] for row in rows] == [str(tmp_path / "in/notes.txt"), *map(str, bad)]
    assert all(row["reason"] for row in rows)
    assert len((tmp_path / "out/predictions.csv.part").read_text().splitlines()) == 2


def test_other_files_of_a_folder_are_named_and_listed(tmp_path: Path, predict: Any, capsys: Any) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "good.png")
    names = sorted(path.name for path in touch(tmp_path, "a.docx", "b.mp4", "c.txt", "=d.pdf", "e.json", "f.zip"))
    touch(tmp_path, ".hidden")
    (tmp_path / "empty.png").touch()
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path, "--skip-errors", output="out/in")
    assert stopped.value.code == 3
    named = ", ".join(names[:5])
    assert f"warning: 6 files left out, no images: {named}, ..." in capsys.readouterr().err
    rows = read_csv(tmp_path / "out/in/skipped.csv")
    assert [Path(row["path"]).name for row in rows] == [*names, "empty.png"]
    assert ["not an image" in row["reason"] for row in rows] == [True] * 6 + [False]


def test_two_runs_do_not_write_to_one_folder(predict: Any, capsys: Any, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "good.png")
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"):
        assert "out: in use by process" in error_of(capsys, predict, tmp_path / "good.png")


def test_another_run_into_the_same_folder_leaves_nothing_of_the_first(
    predict: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    first, second, *_ = sorted(shapes_checkpoints["photos"].iterdir())
    predict(first, second, "--overlays")
    (tmp_path / "out/masks/mine.png").touch()
    long = tmp_path / f"{'x' * 240}.png"
    long.write_bytes(second.read_bytes())
    predict(long, model="mask")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(RECORD, "masks", "overlays", "predictions.csv", "predictions.jsonl")
    ]
    assert not list((tmp_path / "out/overlays").iterdir())
    assert {path.name for path in (tmp_path / "out/masks").iterdir()} == {"mine.png", f"00000_{'x' * 100}.png"}


def test_masks_get_the_names_of_their_images_and_the_given_values(
    predict: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    first, second, third, *_ = sorted(shapes_checkpoints["photos"].iterdir())
    for photo, name in ((first, "in/a/x.y.png"), (second, "in/b/x.png"), (third, "else/[z].png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo.read_bytes())
    sources, values = (tmp_path / "in", tmp_path / "else/[z].png"), [0, 50, 100, 150, 255]
    plain = predict(*sources, model="mask", output="plain")
    kept = ["--keep_names", "--mask_values", *values]
    rows = predict(*sources, *kept, model="mask")
    assert [row["mask"] for row in rows] == ["masks/a/x.y.png", "masks/b/x.png", "masks/[z].png"]
    for row, before in zip(rows, plain, strict=True):
        with (
            Image.open(tmp_path / "out" / row["mask"]) as mask,
            Image.open(tmp_path / "plain" / before["mask"]) as same,
        ):
            assert (mask.mode, same.mode) == ("L", "P")
            np.testing.assert_array_equal(np.asarray(mask), np.array(values)[np.asarray(same)])
    predict(f"{tmp_path}/in/*/x.png", "--keep_names", model="mask")  # leaves nothing of the run before
    assert list((tmp_path / "out/masks").rglob("*.png")) == [tmp_path / "out/masks/b/x.png"]
    (tmp_path / "out/masks/b/x.png").write_text("mine")
    message = error_of(capsys, partial(predict, model="mask"), tmp_path / "in", "--keep_names")
    assert f"{tmp_path}/out/masks/b/x.png: would be replaced, but no earlier run wrote it" in message
    Image.new("RGB", (40, 40)).save(tmp_path / "in/b/x.jpg")
    message = error_of(capsys, partial(predict, model="mask"), tmp_path / "in", "--keep_names")
    assert f"{tmp_path}/in/b/x.jpg and {tmp_path}/in/b/x.png would get the same name." in message
    message = error_of(capsys, partial(predict, model="mask"), first, "--mask_values", 0, 255)
    assert (
        "--mask_values: found 0, 255; expected a number from 0 to 255 for each of the 5 classes: background, "
        in message
    )
    message = error_of(capsys, partial(predict, model="label"), first, "--keep_names")
    assert "--keep_names: it is for masks, and" in message


def test_masks_are_written_as_coco_files_too(
    predict: Any, capsys: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    photos = shapes_checkpoints["photos"]
    for form in SEGMENTATIONS:
        rows = predict(photos, "--coco", form, model="mask")
        coco = COCO(tmp_path / "out/predictions.json")
        found = coco.loadRes(json.loads((tmp_path / "out/coco_results.json").read_text()))
        assert [image["file_name"] for image in coco.imgs.values()] == [row["path"] for row in rows]
        assert "background" not in [one["name"] for one in coco.cats.values()]
        for image, row in zip(coco.imgs.values(), rows, strict=True):
            with Image.open(tmp_path / "out" / row["mask"]) as picture:
                mask = np.asarray(picture)
            marks = found.imgToAnns[image["id"]]
            assert [one["category_id"] for one in marks] == [value for value in np.unique(mask).tolist() if value]
            for one in marks:
                np.testing.assert_array_equal(found.annToMask(one), mask == one["category_id"])
                x, y, width, height = map(int, one["bbox"])
                rows_of, columns = np.nonzero(mask == one["category_id"])
                assert (x, y) == (columns.min(), rows_of.min())
                assert (x + width - 1, y + height - 1) == (columns.max(), rows_of.max())
                assert coco.anns[one["id"]]["area"] == (mask == one["category_id"]).sum()
        again = CocoMasks("train", str(tmp_path / "out/predictions.json"), "/", splits=Splits(val=0.0))
        np.testing.assert_array_equal(again.mask(len(rows) - 1), mask)
    predict(photos, model="mask")  # leaves nothing of the run before
    assert not [*(tmp_path / "out").glob("*.json")]
    for model, keys in (("label", "label"), ("all", "label, bbox, mask")):
        message = error_of(capsys, partial(predict, model=model), photos, "--coco", "rle")
        assert "--coco: it is for objects or masks, and" in message
        assert f"predicts {keys}. Leave it out." in message


def test_the_forms_of_pixels_are_those_of_the_flag() -> None:
    options, _ = parse("predict", ["model", "photo", "--output", "out"])
    assert options.coco is None
    for form in SEGMENTATIONS:
        assert parse("predict", ["model", "photo", "--output", "out", "--coco", form])[0].coco == form
    with pytest.raises(InputError, match="--coco: invalid choice: 'other'"):
        parse("predict", ["model", "photo", "--output", "out", "--coco", "other"])


def test_the_place_of_an_image_is_below_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "set/a/1.jpg", "set/b/2.jpg", "3.jpg")
    (tmp_path / "set/list.txt").write_text("a/1.jpg\n../3.jpg\n")
    monkeypatch.chdir(tmp_path)
    for given, places in {
        "set": ["a/1", "b/2"],
        "set/../set": ["a/1", "b/2"],
        "set/*/*.jpg": ["a/1", "b/2"],
        "**/*.jpg": ["3", "set/a/1", "set/b/2"],
        "set/list.txt": ["a/1", "3"],
        "set/a/1.jpg": ["1"],
    }.items():
        assert find_sources([given]).places() == places
    assert [source.place for source in find_sources([tmp_path / "set"])] == ["a/1", "b/2"]


def test_a_folder_that_cannot_be_written_to_is_named(predict: Any, capsys: Any, shapes_checkpoints: Any) -> None:
    photo, model = str(shapes_checkpoints["photos"] / "00.png"), str(shapes_checkpoints["all"])
    with pytest.raises(SystemExit) as stopped:
        main(["predict", model, photo, "--output", "/proc/self/predictions"])
    assert stopped.value.code == 2
    assert "--output /proc/self/predictions: the folder cannot be written to" in capsys.readouterr().err


def command(exported: Any, output: Path, *more: str) -> list[str]:
    model = str(exported["mask.onnx"])
    return [sys.executable, "-m", "visiontasks.cli", "predict", model, "--output", str(output), *more]


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_no_broken_file(
    exported: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800))  # bytes of a file

    args = command(exported, tmp_path / "out", "--overlays", str(shapes_checkpoints["photos"]))
    run = subprocess.run(args, capture_output=True, text=True, preexec_fn=no_room, cwd=ROOT)
    assert run.returncode == 2, run.stderr
    assert "out/" in run.stderr
    assert "cannot be written (File too large)" in run.stderr
    assert not (tmp_path / "out/predictions.csv").exists()
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).load()


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_leaves_no_half_file(
    exported: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    args = command(exported, out := tmp_path / "out", "--batch_size", "1", "-")
    process = subprocess.Popen(args, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    process.stdin.write(f"{shapes_checkpoints['photos'] / '00.png'}\n" * 20_000)
    process.stdin.close()
    limit = time.monotonic() + 100
    while len(list(out.glob("masks/*.png"))) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr is not None
    assert process.stderr.read().strip().splitlines()[-1] == "interrupted by SIGINT"
    assert not (out / "predictions.csv").exists()
    assert [path.name for path in out.rglob(".*")] == [RECORD]


# Test-time augmentation


class Bright:
    """Answers by the pixels alone: the box around what is bright, each pixel's class by its brightness."""

    keys = ("label", "bbox", "value", "mask")
    spec: dict[str, Any] = {  # noqa: RUF012
        "class_names": ["dark", "bright"],
        "value_names": ["share"],
        "image_size": [32, 48],
        "resize": "stretch",
    }

    def __init__(self, any_size: bool = True, resizes: bool = False) -> None:
        self.any_size, self.resizes, self.seen = any_size, resizes, []

    def __call__(self, images: np.ndarray) -> Outputs:
        self.seen.append(images.shape)
        if self.resizes:
            images = np.stack([cv2.resize(one.transpose(1, 2, 0), (48, 32)) for one in images]).transpose(0, 3, 1, 2)
        gray = images.mean(1, dtype=np.float32)
        boxes = []
        for (rows, columns), (height, width) in ((np.nonzero(one > 128), one.shape) for one in gray):
            box = [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
            boxes.append(box)
        share = gray.mean((1, 2)) / 255
        return {
            "label": np.stack([1 - share, share], 1),
            "bbox": np.array(boxes, np.float32),
            "value": share[:, None],
            "mask": np.stack([128 - gray, gray - 128], 1),
        }


def bright_image() -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[4:12, 30:46] = 255
    return image


@pytest.mark.parametrize("views", [["hflip"], ["vflip"], ["hflip", "vflip"], ["2"], ["hflip", "0.5", "2"]])
def test_views_are_carried_back_to_where_they_were(views: list[str]) -> None:
    network = Bright()
    (plain,) = Predictor(network).predict([bright_image()])
    network.seen.clear()
    (found,) = Predictor(network).predict([bright_image()], tta=views)
    assert len(network.seen) == {1: 2, 2: 4, 3: 6}[len(views)]
    np.testing.assert_allclose(found["bbox"], plain["bbox"], atol=1e-4)
    np.testing.assert_array_equal(found["mask"], plain["mask"])
    np.testing.assert_allclose(found["probabilities"], plain["probabilities"], atol=0.01)
    np.testing.assert_allclose(found["bbox"], [30, 4, 46, 12], atol=1e-4)
    np.testing.assert_allclose(found["value"], [1 / 12], atol=0.01)  # 8 x 16 of 32 x 48 pixels


def test_views_of_a_network_that_resizes_by_itself(tmp_path: Path) -> None:
    large = np.kron(bright_image(), np.ones((3, 2, 1), np.uint8))
    (plain,) = Predictor(Bright(False, resizes=True)).predict([large])
    (found,) = Predictor(Bright(False, resizes=True)).predict(large, tta=["hflip", "vflip"])
    np.testing.assert_allclose(found["bbox"], [60, 12, 92, 36], atol=1e-4)
    np.testing.assert_array_equal(found["mask"], plain["mask"])
    assert found["mask"].sum() == pytest.approx((large[..., 0] > 0).sum(), rel=0.05)


def test_a_single_view_is_the_plain_answer(shapes_checkpoints: dict[str, Path]) -> None:
    predictor = visiontasks.load(str(shapes_checkpoints["all"]), device="cpu")
    photos = sorted(shapes_checkpoints["photos"].iterdir())
    for plain, found in zip(predictor.predict(photos), predictor.predict(photos, tta=["1"]), strict=True):
        for key, value in plain.items():
            np.testing.assert_array_equal(value, found[key])


def test_the_mean_of_a_picture_and_its_mirror_does_not_change_with_mirroring(
    shapes_checkpoints: dict[str, Path],
) -> None:
    predictor = visiontasks.load(str(shapes_checkpoints["all"]), device="cpu")
    image = np.asarray(Image.open(shapes_checkpoints["photos"] / "03.png"))
    one, other = predictor.predict([image, np.ascontiguousarray(image[:, ::-1])], tta=["hflip"])
    np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-5)
    x1, y1, x2, y2 = other["bbox"]
    np.testing.assert_allclose(one["bbox"], [image.shape[1] - x2, y1, image.shape[1] - x1, y2], atol=1e-3)
    assert (one["mask"] == other["mask"][:, ::-1]).mean() > 0.999


def test_views_that_make_no_sense_are_refused() -> None:
    for wrong in (["flip"], ["hflip", "1..5"], ["0"], ["-1"]):
        with pytest.raises(InputError, match=r"expected hflip, vflip and scales such as 0\.75"):
            TestTimeAugmentation(Bright(), wrong)
    with pytest.raises(InputError, match="takes pictures of one size; leave the scales out"):
        TestTimeAugmentation(Bright(any_size=False), ["1.5"])
    TestTimeAugmentation(Bright(any_size=False), ["hflip"])


# Outputs and tiles


def test_outputs_become_predictions_in_the_pixels_of_the_image() -> None:
    spec = {"class_names": ["a", "b"], "value_names": ["weight", "age"], "image_size": [32, 48], "resize": "stretch"}
    outputs = {
        "label": np.array([[0.25, 0.75]], np.float32),
        "bbox": np.array([[0.25, 0.5, 0.5, 1]], np.float32),
        "value": np.array([[2.5, -7]], np.float32),
        "mask": np.stack([np.zeros((32, 48)), np.linspace(-1, 1, 48) * np.ones((32, 1))])[None].astype(np.float32),
    }
    (sample,) = predict_samples(outputs, [(64, 96)], spec)
    assert (sample["label"], sample["class_name"], sample["score"], sample["size"]) == (1, "b", 0.75, (64, 96))
    assert sample["probabilities"].tolist() == [0.25, 0.75]
    assert sample["bbox"].tolist() == [24, 32, 48, 64]
    assert sample["value"].tolist() == [2.5, -7]
    assert sample["mask"].dtype == np.uint8
    assert not sample["mask"][:, :48].any()
    assert sample["mask"][:, 48:].all()


# where a letterboxed image lies in a picture of 32 x 48: its rows and columns
LETTERBOXED = {
    (50, 90): (slice(2, 29), slice(None)),
    (16, 24): (slice(None), slice(None)),
    (200, 33): (slice(None), slice(21, 26)),
    (32, 48): (slice(None), slice(None)),
}


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", LETTERBOXED)
def test_masks_are_resized_to_the_image_as_torch_does(resize: Any, size: tuple[int, int]) -> None:
    import torch

    scores = np.random.default_rng(0).normal(size=(4, 32, 48)).astype(np.float32)
    rows, columns = LETTERBOXED[size] if resize == "letterbox" else (slice(None), slice(None))
    image = torch.from_numpy(scores)[None, :, rows, columns]
    whole = torch.nn.functional.interpolate(image, size, mode="bilinear", align_corners=False)
    found = restore_mask(scores, Frame(*size, (32, 48), resize))
    assert found.dtype == np.uint8
    assert (found == whole[0].argmax(0).numpy()).mean() > 0.9999


def test_tiles_go_together_with_views_and_the_command(
    predict: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    predict(shapes_checkpoints["photos"], "--tile", 32, "--tta", "hflip", model="mask")
    with Image.open(tmp_path / "out/masks/00011_11.png") as mask:
        assert mask.size == (48, 48)


@pytest.mark.slow
def test_a_huge_image_in_tiles_needs_little_memory(tmp_path: Path) -> None:
    code = """
import resource, sys
import numpy as np
from visiontasks.models import Backbone
from visiontasks.predict import Predictor
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.tasks import SegmentationTask
spec = {"class_names": [], "mask_names": [str(i) for i in range(12)], "image_size": 256, "resize": "stretch"}
task = SegmentationTask(spec, Backbone(pretrained=False))
imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a build of torch for GPUs takes 300 MB more
image = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), np.uint8)
(found,) = Predictor(TorchNetwork(task)).predict([image], tile=512)
assert found["mask"].shape == (4000, 6000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imports) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(run.stdout) < 1000  # MB; the scores of the whole image would take 1,152
