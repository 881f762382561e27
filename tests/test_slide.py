"""Row T3 of the course: convolutions that equal the dense layers, windows that hold what they say, boxes in pixels."""

from __future__ import annotations

import csv
import resource
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from visiontasks.cli import main
from visiontasks.cli.detect import average_precision
from visiontasks.core.errors import InputError
from visiontasks.core.objects import Objects, make_objects
from visiontasks.core.resize import crop_image
from visiontasks.core.sample import FILL
from visiontasks.data import Scenes, VocBoxes, Windows
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.windows import Window
from visiontasks.models import Backbone, BoxHead, LabelHead
from visiontasks.models.classic.plain import Stage, classic
from visiontasks.predict.sliding import Detector, fully_convolutional
from visiontasks.tasks import ClassificationTask, LocalizationTask

ROWS, COLUMNS, CHANNELS = 3, 4, 6
NAMES = ["circle", "square", "triangle", "star", "background"]


@classic(24)
def slide_net(in_channels: int) -> list[Stage]:
    """A stride of 4 and no padding: of 24 pixels 5 x 5 cells are left, and every window is as if it were alone."""
    first = nn.Sequential(nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.MaxPool2d(2))
    return [Stage(first, 6, 2), Stage(nn.Sequential(nn.Conv2d(6, 8, 2, stride=2), nn.ReLU()), 8, 2)]


def task(size: int = 24, names: list[str] = NAMES, name: str = "slide_net", **heads) -> LocalizationTask:
    torch.manual_seed(0)
    spec = {"class_names": names, "mask_names": [], "image_size": size, "resize": "stretch"}
    return LocalizationTask(spec, Backbone(name, pretrained=False), **heads).eval()


def each_window(final: Tensor, head: nn.Module) -> Tensor:
    """The dense head on every window of a map, one by one: (B, outputs, H - ROWS + 1, W - COLUMNS + 1)."""
    rows, columns = final.shape[2] - ROWS + 1, final.shape[3] - COLUMNS + 1
    parts = [final[:, :, i : i + ROWS, j : j + COLUMNS] for i in range(rows) for j in range(columns)]
    return torch.stack([head([part]) for part in parts], 2).unflatten(2, (rows, columns))


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "flatten"])
@pytest.mark.parametrize("hidden", [[], [7], [9, 5]])
def test_label_head_as_convolutions_is_the_dense_one_on_each_window(pool: str, hidden: list[int]) -> None:
    torch.manual_seed(1)
    head = LabelHead([CHANNELS], 5, pool=pool, hidden=hidden, dropout=0.5).eval()
    head([torch.zeros(1, CHANNELS, ROWS, COLUMNS)])  # a lazy layer takes its width
    final = torch.randn(2, CHANNELS, 7, 9)
    convolutions = fully_convolutional(head, ROWS, COLUMNS)
    torch.testing.assert_close(convolutions(final), each_window(final, head))
    assert not [layer for layer in convolutions.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("grid", [1, 2, 3, 7])
def test_box_head_as_a_convolution_is_the_dense_one_on_each_window(grid: int) -> None:
    torch.manual_seed(2)
    head = BoxHead([CHANNELS], 5, grid=grid, hidden=0, dropout=0.5).eval()
    final = torch.randn(2, CHANNELS, 7, 9)
    torch.testing.assert_close(fully_convolutional(head, ROWS, COLUMNS)(final), each_window(final, head))


def test_box_head_with_a_convolution_sees_the_cells_around_a_window() -> None:
    head = BoxHead([CHANNELS], 5, grid=2, hidden=8).eval()
    final, alone = torch.randn(1, CHANNELS, 7, 9), BoxHead([8], 5, grid=2, hidden=0).eval()
    alone.regressor.load_state_dict(head.regressor.state_dict())
    found = fully_convolutional(head, ROWS, COLUMNS)(final)
    torch.testing.assert_close(found, each_window(head.hidden(final), alone))
    whole = final[:, :, :ROWS, :COLUMNS]  # of a map of one window there is nothing around it
    torch.testing.assert_close(fully_convolutional(head, ROWS, COLUMNS)(whole)[:, :, 0, 0], head([whole]))


@pytest.mark.parametrize(("pool", "hidden"), [("avg", []), ("max", [8]), ("flatten", [8])])
def test_one_pass_equals_cropping_every_window(pool: str, hidden: list[int]) -> None:
    model = task(label_head=partial(LabelHead, pool=pool, hidden=hidden), box_head=partial(BoxHead, grid=3, hidden=0))
    image = torch.randint(0, 256, (1, 3, 24 + 4 * 5, 24 + 4 * 3), dtype=torch.uint8)
    maps = Detector(model).maps(image)
    assert maps["bbox"].shape == (1, 4, 6, 4)
    for i in range(6):
        for j in range(4):
            with torch.inference_mode():
                dense = model(image[:, :, 4 * i : 4 * i + 24, 4 * j : 4 * j + 24])
            for key, output in dense.items():
                torch.testing.assert_close(maps[key][:, :, i, j], output)


@pytest.fixture(scope="module")
def windows() -> Windows:
    return Windows("train", partial(Scenes, count=40), size=48, per_image=8, background=0.4)


def test_scenes_hold_whole_shapes_that_do_not_overlap() -> None:
    scenes = Scenes("val", 80)
    counts = []
    for i in range(len(scenes)):
        boxes, labels, _ = scenes.objects(i).values()
        counts.append(len(boxes))
        assert boxes.min() >= 0
        assert boxes.max() <= 256
        assert len(labels) == len(boxes) == len(np.unique(boxes, axis=0))
        assert scenes.target(i)["bbox"].tolist() == boxes[0].tolist()
        assert scenes.image(i).shape == (256, 256, 3)
    assert set(counts) == {1, 2, 3}
    np.testing.assert_array_equal(scenes.image(3), Scenes("val", 80).image(3))


def test_a_shape_is_where_its_box_says() -> None:
    """Without noise a shape's pixels are those that differ from the same scene with one shape less."""
    scenes = Scenes("train", 8, most=1, difficulty=0.0)
    for i in range(4):
        ((left, top, right, bottom),) = scenes.objects(i)["boxes"]
        image = scenes.image(i).astype(int)
        far = np.abs(image - np.median(image.reshape(-1, 3), 0)).max(2) > 60
        ys, xs = np.nonzero(far)
        assert (
            np.abs(np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) - [left, top, right, bottom]).max() <= 1
        )


def test_an_object_window_has_its_object_near_the_middle(windows: Windows) -> None:
    low, high = windows.share
    labels = windows.labels()
    assert 0.3 < (labels == 4).mean() < 0.5
    for i in np.nonzero(labels < 4)[0]:
        left, top, side, chosen = windows.window(i)
        boxes, classes, _ = windows.source.objects(i // 8).values()
        true, sample = boxes[chosen], windows.target(i)
        assert sample["label"] == classes[chosen]
        back = sample["bbox"] * side / 48 + (left, top, left, top)
        corner = np.array([left, top, left, top])
        np.testing.assert_allclose(back, true.clip(corner, corner + side), atol=1e-3)
        assert low <= (true[2:] - true[:2]).max() / side <= high
        center = (true[:2] + true[2:]) / 2 - [left, top]
        assert np.abs(center / side - 0.5).max() <= windows.shift + 1e-9


def test_background_holds_no_centered_object_of_fitting_size(windows: Windows) -> None:
    (low, high), near = windows.share, 0
    for i in np.nonzero(windows.labels() == 4)[0]:
        assert "bbox" not in windows.target(i)
        left, top, side, _ = windows.window(i)
        for box in windows.source.objects(i // 8)["boxes"]:
            part = (box[2:] - box[:2]).max() / side
            off = np.abs((box[:2] + box[2:]) / 2 - [left + side / 2, top + side / 2]).max() / side
            assert not (low <= part <= high and off <= windows.shift)
            near += low <= part <= high and off <= 0.5
    assert near > 10  # parts of objects are among it


def test_a_window_beyond_the_image_is_gray() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    part = crop_image(image, (-1, 2, 3, 6), 4)
    np.testing.assert_array_equal(part[:2, 1:], image[2:, :3])
    assert (part[2:] == FILL).all()
    assert (part[:, 0] == FILL).all()
    assert (crop_image(image, (50, 50, 54, 54), 6) == FILL).all()


def test_a_window_takes_no_more_memory_than_its_picture() -> None:
    """The whole window would have 12 GB."""
    image = np.full((1, 65_000, 3), 7, np.uint8)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    part = crop_image(image, (0, -32_000, 65_000, 33_000), 96)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 20_000  # kilobytes
    assert (part == 7).all(2).sum() == 96
    assert (part == FILL).all(2).sum() == 95 * 96


def test_windows_do_not_depend_on_order_and_differ_by_split() -> None:
    source = partial(Scenes, count=40)
    first, again = Windows("train", source), Windows("train", source)
    assert [again.window(i) for i in reversed(range(30))][::-1] == [first.window(i) for i in range(30)]
    assert [Windows("val", source).window(i) for i in range(9)] != [first.window(i) for i in range(9)]


def test_photos_keep_all_their_objects(tmp_path: Path, write_image) -> None:
    box = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"
    (tmp_path / "annotations").mkdir()
    for i in range(8):
        write_image(tmp_path / "images" / f"{i}.jpg", size=(60, 40))
        objects = box.format("cat", 1, 8) + box.format("dog", 10, 30) + box.format("cat", 40, 50)
        (tmp_path / f"annotations/{i}.xml").write_text(f"<annotation>{objects}</annotation>")
    photos = VocBoxes("train", str(tmp_path))
    boxes, labels, _ = photos.objects(0).values()
    assert photos.target(0)["label"] == 1  # the largest, and here the first
    assert boxes.tolist() == [[10, 2, 30, 9], [1, 2, 8, 9], [40, 2, 50, 9]]
    assert labels.tolist() == [1, 0, 0]
    assert Windows("train", lambda split: VocBoxes(split, str(tmp_path)), per_image=2).class_names[-1] == "background"


def detector_that_sees(monkeypatch: pytest.MonkeyPatch, scales: list[float], **options) -> Detector:
    """A detector to which a window is a circle, sure by its redness, where its middle 4 x 4 pixels are red."""
    detector = Detector(task(), scales, **options)

    def maps(images: Tensor) -> dict[str, Tensor]:
        cells = images.unfold(2, 24, 4).unfold(3, 24, 4)[0, 0, :, :, 10:14, 10:14].float().mean((2, 3)) - 128
        label = torch.zeros(1, 5, *cells.shape)
        label[0, 0], label[0, 4] = cells / 10, -cells / 10
        box = torch.tensor([0.5, 0.5, 0.5, 0.25]).logit()[None, :, None, None].expand(1, 4, *cells.shape)
        return {"label": label, "bbox": box}

    monkeypatch.setattr(detector, "maps", maps)
    return detector


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_boxes_come_back_in_pixels_of_the_image_at_every_scale(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    image = np.zeros((72, 104, 3), np.uint8)
    side = int(4 / scale)  # of the square that one window has in its middle
    image[40 : 40 + side, 32 : 32 + side, 0] = 255
    found = detector_that_sees(monkeypatch, [scale]).detect(image)
    x, y = 32 + side / 2, 40 + side / 2
    assert found["labels"].tolist() == [0]
    np.testing.assert_allclose(
        found["boxes"], [[x - 6 / scale, y - 3 / scale, x + 6 / scale, y + 3 / scale]], atol=1e-4
    )
    assert found["boxes"].dtype == np.float32


def test_a_shape_at_the_border_is_seen_and_its_box_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((50, 70, 3), np.uint8)
    image[48:, 68:, 0] = 255
    (box,) = detector_that_sees(monkeypatch, [1.0]).detect(image)["boxes"]
    assert box.tolist() == pytest.approx([64, 47, 70, 50])


def test_doubles_are_suppressed_within_a_class_and_over_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:32, 24:32, 0] = 255
    many = detector_that_sees(monkeypatch, [1.0, 1.1], iou=1.0).detect(image)
    one = detector_that_sees(monkeypatch, [1.0, 1.1], iou=0.0).detect(image)
    assert len(many["boxes"]) > 4
    assert len(one["boxes"]) == 1
    assert one["scores"][0] == many["scores"].max()
    assert (np.diff(many["scores"]) <= 0).all()


class Blocks(VisionDataset):
    """Two red blocks in each picture, as the detector above expects them."""

    def __init__(self, names: list[str]) -> None:
        self.class_names = names

    def __len__(self) -> int:
        return 2

    def image(self, index: int) -> np.ndarray:
        image = np.zeros((64, 96, 3), np.uint8)
        image[32:36, 32:36, 0] = image[32:36, 68:72, 0] = 255
        return image

    def target(self, index: int) -> dict:
        return {"label": 0, "bbox": self.objects(index)["boxes"][0]}

    def objects(self, index: int) -> Objects:
        middle, half = np.array([[34, 34], [70, 34]]), (6, 3)
        boxes = np.hstack([middle - half, middle + half])
        return make_objects(boxes, [0, 0])

    def name(self, index: int) -> str:
        return str(index)


def test_average_precision_of_what_is_all_found_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = average_precision(detector_that_sees(monkeypatch, [1.0]), Blocks(NAMES[:4]))
    assert figures["map_50"] == figures["map"] == figures["circle"] == 1
    few = detector_that_sees(monkeypatch, [1.0], threshold=1.0)
    assert average_precision(few, Blocks(NAMES[:4]))["map_50"] == 0
    with pytest.raises(InputError, match=r"the images have \['a'\], the model \['circle'"):
        average_precision(few, Blocks(["a"]))


def test_average_precision_of_a_class_that_no_image_has_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Blocks(NAMES[:4])
    monkeypatch.setattr(data, "objects", lambda index: Blocks.objects(data, index) | {"labels": np.ones(2, np.int64)})
    figures = average_precision(detector_that_sees(monkeypatch, [1.0]), data)
    assert np.isnan(figures["circle"])  # seen, but there is none
    assert figures["map"] == figures["square"] == 0


def test_the_command_writes_boxes_and_pictures(tmp_path: Path, write_image, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(
        "trainer: {max_epochs: 1, limit_train_batches: 2, logger: false, accelerator: cpu}\n"
        "model: {class_path: LocalizationTask, init_args: {backbone: {name: test_resnet, pretrained: false}}}\n"
        "data:\n  dataset: {class_path: Windows, init_args: {source: {class_path: Scenes, init_args: {count: 8}}}}\n"
        "  image_size: 64\n  augment: none\n  batch_size: 8\n"
    )
    main(["fit", "-c", "c.yaml"])
    (checkpoint,) = map(str, tmp_path.glob("runs/c/*/last.ckpt"))
    photo = write_image(tmp_path / "photos/a.png", size=(150, 100))
    main(
        [
            "detect",
            checkpoint,
            str(photo.parent),
            "--output",
            "out",
            "--threshold",
            "0",
            "--scales",
            "1",
            "--device",
            "cpu",
        ]
    )
    with open("out/detections.csv") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert f"{len(rows)} objects in 1 images" in capsys.readouterr().out
    assert {row["label"] for row in rows} <= set(NAMES[:4])
    assert all(0 <= float(row["xmin"]) <= float(row["xmax"]) <= 150 and 0 <= float(row["ymax"]) <= 100 for row in rows)
    drawn = np.asarray(Image.open("out/overlays/00000_a.png"))
    assert drawn.shape == (100, 150, 3)
    assert (drawn != np.asarray(Image.open(photo))).any()
    assert not list(Path("out").glob("*.part"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": NAMES[:4]}, "with a class 'background'"),
        ({"names": ["background"]}, "expected label and bbox"),
        ({"size": (24, 28)}, "24 x 28 is not square"),
        ({"label_head": partial(LabelHead, distance=True)}, "LabelHead: only a LabelHead without `distance`"),
        ({"name": "test_vit", "size": 160}, "test_vit cannot be slid"),
    ],
)
def test_a_model_that_cannot_be_slid_is_told_why(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Detector(task(**options))


def test_a_label_alone_cannot_be_slid() -> None:
    spec = {"class_names": NAMES, "mask_names": [], "image_size": 24, "resize": "stretch"}
    model = ClassificationTask(spec, Backbone("slide_net", pretrained=False))
    with pytest.raises(InputError, match=r"the model predicts label of \['circle'"):
        Detector(model)


@pytest.mark.parametrize("options", [{"scales": []}, {"scales": [0.0]}, {"threshold": 2.0}, {"iou": -0.1}])
def test_numbers_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match="must be positive numbers"):
        Detector(task(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": (0.7, 0.3)}, "two rising parts"),
        ({"shift": 0.0}, r"shift=0\.0 in"),
        ({"background": 1.0}, "below 1"),
        ({"share": (0.9, 0.9000001), "background": 0.0}, "no window with an object"),
    ],
)
def test_windows_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Windows("train", partial(Scenes, count=8), **options).labels()


@pytest.mark.parametrize("options", [{"radii": (0.3, 0.1)}, {"radii": (0.001, 0.1)}, {"most": 0}, {"difficulty": 2}])
def test_scenes_that_cannot_be_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match="Scenes: "):
        Scenes("train", **options)


def test_a_source_must_leave_background_to_the_windows() -> None:
    with pytest.raises(InputError, match="a class 'background' already"):
        Windows("train", lambda split: Blocks(["cat", "background"]))


def test_fits_is_true_up_to_shift_and_share() -> None:
    windows = Windows("train", partial(Scenes, count=8), share=(0.4, 0.6), shift=0.2)
    boxes = np.array([[25, 25, 75, 75], [46, 25, 94, 75], [46, 25, 96, 75], [10, 10, 90, 90]], np.float32)
    assert windows.fits(Window(0, 0, 100, -1), boxes).tolist() == [True, True, False, False]
    assert windows.fits(Window(0, 0, 100, -1), boxes, loosely=True).tolist() == [True, True, True, False]
