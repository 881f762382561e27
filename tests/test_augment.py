"""Augmentation and resizing: keyed randomness, and image, box and mask that stay together."""

from __future__ import annotations

import random
import resource
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.resize import resize_image, resize_mask, to_picture
from visiontasks.core.sample import Sample
from visiontasks.data.augment import Augment, EvalTransform, preset
from visiontasks.data.transforms import ColorJitter, ObjectAffine, ObjectCrop
from visiontasks.targets.sample import resize_sample

PRESETS = ("none", "light", "medium", "strong")
MODES = ("stretch", "letterbox", "crop")
COLOR_JITTER = "visiontasks.data.transforms.ColorJitter"


def make_sample(index: int = 0, height: int = 60, width: int = 80, box: bool = True, mask: bool = True) -> Sample:
    """Noise, and a box that its mask fills."""
    rng = np.random.default_rng([7, index])
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    sample = {"image": image, "index": index, "size": (height, width), "label": index % 3}
    x1, x2 = sorted(rng.choice(width + 1, 2, replace=False))
    y1, y2 = sorted(rng.choice(height + 1, 2, replace=False))
    if box:
        sample["bbox"] = np.array([x1, y1, x2, y2], np.float32)
    if mask:
        sample["mask"] = np.zeros((height, width), np.uint8)
        sample["mask"][y1:y2, x1:x2] = 1
    return sample


def extent(mask: np.ndarray) -> np.ndarray:
    """The box of the pixels of class 1."""
    ys, xs = np.nonzero(mask == 1)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def equal(one: Sample, other: Sample) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# Randomness


@pytest.mark.parametrize("name", ["light", "medium", "strong"])
def test_a_draw_depends_on_seed_epoch_and_index_only(name: str) -> None:
    sample = make_sample(box=False)
    first = Augment(name, 48, seed=3)
    drawn = {(epoch, index): first(sample, epoch, index) for epoch in range(3) for index in range(4)}
    again = Augment(name, 48, seed=3)
    for (epoch, index), result in reversed(drawn.items()):
        assert equal(again(sample, epoch, index), result)
    pictures = [result["image"].tobytes() for result in drawn.values()]
    pictures += [Augment(name, 48, seed=4)(sample, 0, index)["image"].tobytes() for index in range(4)]
    assert len(set(pictures)) == 16


def test_a_mask_beside_image_and_box_does_not_change_the_draw() -> None:
    augment = Augment("medium", 48)
    for index in range(20):
        with_mask = augment(make_sample(index), 0, index)
        without = augment(make_sample(index, mask=False), 0, index)
        np.testing.assert_array_equal(with_mask["image"], without["image"])


def test_the_steps_of_a_pipeline_draw_independently() -> None:
    flips = Augment([{"class_path": "HorizontalFlip"}, {"class_path": "VerticalFlip"}], 8)
    image = np.zeros((8, 8, 3), np.uint8)
    image[0, 0] = 255
    corners = {(0, 0): 0, (0, 7): 0, (7, 0): 0, (7, 7): 0}
    for index in range(200):
        ys, xs = np.nonzero(flips({"image": image}, 0, index)["image"][..., 0])
        corners[int(ys[0]), int(xs[0])] += 1
    assert min(corners.values()) > 25


# Presets


@pytest.mark.parametrize("resize", MODES)
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("box", "mask"), [(True, True), (True, False), (False, True), (False, False)])
def test_presets_keep_the_sample_contract(name: str, resize: str, box: bool, mask: bool) -> None:
    augment = Augment(name, 48, resize)
    for index in range(6):
        sample = make_sample(index, 50, 70, box, mask)
        if box:
            sample["bbox"] = np.array([20, 15, 50, 35], np.float32)  # near the middle: `strong` shears it not away
        before = {key: np.copy(value) for key, value in sample.items()}
        result = augment(sample, 1, index)
        assert result["image"].dtype == np.uint8
        assert result["image"].shape == (48, 48, 3)
        assert result["image"].flags.c_contiguous
        assert {key: result[key] for key in ("index", "size", "label")} == {
            "index": index,
            "size": (50, 70),
            "label": index % 3,
        }
        assert set(result) == set(sample)
        if box:
            assert result["bbox"].dtype == np.float32
            assert result["bbox"].shape == (4,)
            assert (result["bbox"] >= 0).all()
            assert (result["bbox"] <= 48).all()
            assert (result["bbox"][2:] > result["bbox"][:2]).all()
        if mask:
            assert result["mask"].dtype == np.uint8
            assert result["mask"].shape == (48, 48)
            assert result["mask"].flags.c_contiguous
            assert set(np.unique(result["mask"])) <= {0, 1, 255}
        assert equal(before, sample)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_box_and_the_same_box_as_a_mask_agree(name: str, resize: str) -> None:
    """500 boxes of any size, to one pixel; the corner of a turned mask may miss the center of its last pixels."""
    augment, rng = Augment(name, 96, resize), np.random.default_rng(0)
    moved, tolerance = 0, 1.6 if name == "strong" else 1.01
    for index in range(500):
        width, height = rng.integers(8, 80), rng.integers(8, 60)
        x, y = rng.integers(0, 81 - width), rng.integers(0, 61 - height)
        mask = np.zeros((60, 80), np.uint8)
        mask[y : y + height, x : x + width] = 1
        box = np.array([x, y, x + width, y + height], np.float32)
        image = np.zeros((60, 80, 3), np.uint8)
        result = augment({"image": image, "mask": mask, "bbox": box}, 0, index)
        assert np.abs(result["bbox"] - extent(result["mask"])).max() <= tolerance, (index, result["bbox"])
        moved += not np.allclose(result["bbox"], Frame(60, 80, 96, resize).to_picture(box), atol=1)
    assert moved > 300 or name == "none"


def test_none_changes_nothing_of_a_sample_of_the_right_size() -> None:
    sample = make_sample(0, 48, 48)
    assert equal(Augment("none", 48)(sample, 0, 0), sample)


def test_strong_turns_a_box_that_has_room_to_be_turned() -> None:
    augment = Augment("strong", 64)
    turned = 0
    for index in range(100):
        sample = {**make_sample(index), "bbox": np.array([25, 20, 50, 45], np.float32)}
        turned += 255 in augment(sample, 0, index)["mask"]
    assert turned > 20


def test_object_affine_leaves_alone_a_box_that_fills_the_image() -> None:
    sample = {**make_sample(box=False), "bbox": np.array([0, 0, 80, 60], np.float32)}
    result = Augment([ObjectAffine(rotate=(10, 20), p=1.0)], 48)(sample, 0, 0)
    np.testing.assert_array_equal(result["image"], Augment("none", 48)(sample, 0, 0)["image"])
    assert result["bbox"].tolist() == [0, 0, 48, 48]


def test_object_affine_without_a_box_is_albumentations_own() -> None:
    arguments = {"rotate": (-20, 20), "shear": (-8, 8), "p": 1.0}
    for index in range(10):
        sample = make_sample(index, box=False, mask=False)
        own, published = (Augment([kind(**arguments)], 64)(sample, 0, index) for kind in (ObjectAffine, A.Affine))
        assert equal(own, published)


def test_strong_marks_what_it_brings_in_from_outside_as_ignored() -> None:
    augment = Augment("strong", 48)
    seen = set()
    for index in range(30):
        sample = {"image": np.full((48, 48, 3), 90, np.uint8), "mask": np.ones((48, 48), np.uint8)}
        seen |= set(np.unique(augment(sample, 0, index)["mask"]).tolist())
    assert seen == {1, 255}


def test_a_box_that_always_leaves_the_image_is_an_error() -> None:
    sample = {**make_sample(), "bbox": np.array([0, 0, 5, 5], np.float32)}
    crop = {"class_path": "Crop", "init_args": {"x_min": 40, "y_min": 40, "x_max": 60, "y_max": 60}}
    with pytest.raises(InputError, match="10 draws of the augmentation cut off half of its box"):
        Augment([crop], 32)(sample, 0, 17)


def test_no_transform_of_a_list_cuts_more_than_half_of_the_box_away() -> None:
    augment = Augment([{"class_path": "RandomCrop", "init_args": {"height": 40, "width": 40}}], 40)
    shares = []
    for index in range(100):
        moved = augment({**make_sample(index), "bbox": np.array([20, 15, 50, 35], np.float32)}, 0, index)["bbox"]
        shares.append(float((moved[2:] - moved[:2]).prod()) / (30 * 20))
    assert min(shares) >= 0.5
    assert min(shares) < 0.7 < max(shares)


# ObjectCrop


@pytest.mark.parametrize("keep", [0.5, 0.8, 1.0])
def test_object_crop_keeps_its_share_of_the_box(keep: float) -> None:
    """Masks that hold their own column and row show what was cut out; the result is larger, so none is skipped."""
    augment = Augment([ObjectCrop((128, 128), scale=(0.05, 0.5), keep=keep, zoom_out=0)], 128)
    rows, columns = np.mgrid[:60, :80].astype(np.uint8)
    cut = 0
    for index in range(150):
        sample = make_sample(index, mask=False)
        corners = []
        for places in (columns, rows):
            result = augment({**sample, "mask": places}, 0, index)
            corners.append((int(result["mask"].min()), int(result["mask"].max()) + 1))
        (x1, x2), (y1, y2) = corners
        box = sample["bbox"]
        inside = (min(x2, box[2]) - max(x1, box[0])) * (min(y2, box[3]) - max(y1, box[1]))
        whole = (box[2] - box[0]) * (box[3] - box[1])
        assert inside >= keep * whole - 1e-3
        cut += (x1, y1, x2, y2) != (0, 0, 80, 60)
    assert cut > 50


def test_object_crop_takes_the_whole_image_where_no_crop_can_hold_the_box() -> None:
    sample = {**make_sample(box=False, mask=False), "bbox": np.array([0, 0, 80, 60], np.float32)}
    result = Augment([ObjectCrop((40, 40), scale=(0.05, 0.1), keep=1.0, zoom_out=0)], 40)(sample, 0, 0)
    assert result["bbox"].tolist() == [0, 0, 40, 40]
    np.testing.assert_array_equal(result["image"], Augment("none", 40)(sample, 0, 0)["image"])


def test_object_crop_shows_an_object_as_often_smaller_as_larger_with_gray_around() -> None:
    """In the middle, where crop and frame both hold it; its share of the picture changes by the window's area."""
    augment = Augment([ObjectCrop((100, 100), scale=(0.35, 1.0))], 100)
    image, mask = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)
    sample = {"image": image, "mask": mask, "bbox": np.array([48, 48, 52, 52], np.float32)}
    larger, framed = [], []
    for index in range(400):
        result = augment(sample, 0, index)
        x1, y1, x2, y2 = result["bbox"]
        larger.append(np.log((x2 - x1) * (y2 - y1) / 16))
        outside = result["mask"] == 255
        assert (result["image"][outside] == 114).all()
        assert not result["image"][~outside].any()
        framed.append(bool(outside.any()))
    assert abs(np.mean(larger)) < 0.1
    assert 0.4 < np.mean(np.array(larger) > 0) < 0.6
    assert 0.5 < np.mean(framed) < 0.7  # a tall or wide crop is framed too


@pytest.mark.parametrize("name", ["light", "medium"])  # strong turns: the box around a turned box is squarer
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_the_presets_show_an_object_in_the_shape_that_it_has_in_a_whole_image(name: str, resize: Any) -> None:
    """A square in the middle of a photo twice as wide as high: stretched it is half as wide as high."""
    sample = {"image": np.zeros((100, 200, 3), np.uint8), "bbox": np.array([96, 46, 104, 54], np.float32)}
    x1, y1, x2, y2 = EvalTransform(200, resize)(sample, 0, 0)["bbox"]
    augment, shapes = Augment(name, 200, resize), []
    for index in range(150):
        left, top, right, bottom = augment(sample, 0, index)["bbox"]
        shapes.append(np.log((right - left) / (bottom - top)))
    assert abs(np.mean(shapes) - np.log((x2 - x1) / (y2 - y1))) < 0.1


def test_what_moves_in_from_outside_a_mask_does_not_count() -> None:
    sample = {**make_sample(0, box=False), "mask": np.full((60, 80), 3, np.uint8)}
    for name, turn in (("Rotate", {"limit": [20, 40]}), ("Affine", {"rotate": [20, 40]})):
        turn = {"class_path": name, "init_args": {"p": 1.0, **turn}}
        masks = [Augment([turn], 48)({**sample}, 0, index)["mask"] for index in range(8)]
        assert set(np.unique(masks)) == {3, 255}, name
    zero = {"class_path": "Rotate", "init_args": {"p": 1.0, "limit": [30, 30], "fill_mask": 0}}
    assert set(np.unique(Augment([zero], 48)({**sample}, 0, 0)["mask"])) == {0, 3}


def test_object_crop_without_box_and_mask_is_a_random_resized_crop() -> None:
    arguments = {"size": (128, 128), "scale": (0.2, 0.9), "ratio": (0.5, 2.0)}
    for index in range(10):
        sample = make_sample(index, box=False, mask=False)
        own, published = (
            Augment([kind(**arguments)], 128)(sample, 0, index) for kind in (ObjectCrop, A.RandomResizedCrop)
        )
        assert equal(own, published)


# ColorJitter


class Part(random.Random):
    """Draws the number at a given part of every range."""

    def __init__(self, part: float) -> None:
        super().__init__(0)
        self.part = part

    def uniform(self, a: float, b: float) -> float:
        return a + self.part * (b - a)


def jitter(image: np.ndarray, part: float, **ranges: float) -> np.ndarray:
    transform = ColorJitter(**{"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "p": 1, **ranges})
    transform.set_random_state(np.random.default_rng(0), Part(part))
    return transform(image=image)["image"]


def jitter_in_float64(
    image: np.ndarray, brightness: float, contrast: float, saturation: float, turn: float
) -> np.ndarray:
    """One change after the other, as each is defined; the hue turns the chroma plane of NTSC's YIQ."""
    pixels = image.astype(np.float64)
    gray = (pixels @ [0.299, 0.587, 0.114])[..., None]
    pixels = gray + saturation * (pixels - gray)
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    yiq = pixels @ to_yiq.T
    chroma = (yiq[..., 1] + 1j * yiq[..., 2]) * np.exp(2j * np.pi * turn)
    pixels = np.stack([yiq[..., 0], chroma.real, chroma.imag], -1) @ np.linalg.inv(to_yiq).T
    pixels = 127.5 + contrast * (pixels - 127.5)
    return (brightness * pixels).clip(0, 255)


ALL_COLORS = (
    np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), -1).reshape(18 * 18, 18, 3).astype(np.uint8)
)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize(
    "ranges",
    [
        {"brightness": 0.4},
        {"contrast": 0.4},
        {"saturation": 1.0},
        {"hue": 0.25},
        {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02},
        {"brightness": 2.0, "contrast": 1.5},
    ],
    ids=str,
)
def test_color_jitter_agrees_with_float64(part: float, ranges: dict[str, float]) -> None:
    factors = []
    for key in ("brightness", "contrast", "saturation"):
        low, high = max(0, 1 - ranges.get(key, 0)), 1 + ranges.get(key, 0)
        factors.append(low + part * (high - low))
    turn = ranges.get("hue", 0) * (2 * part - 1)
    expected = jitter_in_float64(ALL_COLORS, *factors, turn)
    result = jitter(ALL_COLORS, part, **ranges)
    assert result.dtype == np.uint8
    assert np.abs(result - expected).max() <= 1  # OpenCV multiplies 8-bit images in fixed point


def test_color_jitter_of_zeros_is_the_identity() -> None:
    for part in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(jitter(ALL_COLORS, part), ALL_COLORS)


def test_color_jitter_without_saturation_leaves_the_gray_of_a_television() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    assert jitter(image, 0, saturation=1.0).tolist() == [[[76] * 3, [150] * 3, [29] * 3, [90] * 3]]


def test_color_jitter_draws_from_the_whole_of_its_ranges() -> None:
    gray = np.full((1, 1, 3), 100, np.uint8)
    augment = Augment([ColorJitter(0.5, 0, 0, 0, p=1)], 1)
    drawn = [int(augment({"image": gray}, 0, index)["image"][0, 0, 0]) for index in range(300)]
    assert 50 <= min(drawn) < 54
    assert 146 < max(drawn) <= 150
    assert abs(np.mean(drawn) - 100) < 6


# Lists of transforms


def test_a_config_list_builds_transforms_by_class_path_and_by_bare_name() -> None:
    steps = [
        {"class_path": "albumentations.HorizontalFlip", "init_args": {"p": 1}},
        {
            "class_path": "visiontasks.data.transforms.ObjectCrop",
            "init_args": {"size": [40, 40], "scale": [1, 1], "ratio": [1, 1]},
        },
        {"class_path": "ObjectCrop", "init_args": {"size": [40, 40], "scale": [1, 1], "ratio": [1, 1]}},
        {"class_path": "VerticalFlip", "init_args": {"p": 1.0}},
        {"class_path": COLOR_JITTER, "init_args": {"p": 0.0}},
        {"class_path": "NoOp", "init_args": None},
    ]
    image = make_sample(height=40, width=40)["image"]
    result = Augment(steps, 40)({"image": image}, 0, 0)["image"]
    np.testing.assert_array_equal(result, image[::-1, ::-1])


def test_objects_and_dicts_make_the_same_pipeline() -> None:
    sample = make_sample()
    objects = Augment([A.HorizontalFlip(), ColorJitter(0.3, p=1), A.RandomCrop(32, 32)], 48)
    dicts = Augment(
        [
            {"class_path": "HorizontalFlip"},
            {"class_path": COLOR_JITTER, "init_args": {"brightness": 0.3, "p": 1}},
            {"class_path": "RandomCrop", "init_args": {"height": 32, "width": 32}},
        ],
        48,
    )
    for index in range(5):
        small = {key: sample[key] for key in ("image", "mask", "index", "size")}
        assert equal(objects(small, 0, index), dicts(small, 0, index))


def test_a_choice_inside_a_list_takes_each_of_its_parts() -> None:
    inner = [
        {"class_path": "HorizontalFlip", "init_args": {"p": 1}},
        {
            "class_path": "albumentations.Sequential",
            "init_args": {"p": 1, "transforms": [{"class_path": "VerticalFlip", "init_args": {"p": 1}}]},
        },
    ]
    augment = Augment([{"class_path": "albumentations.OneOf", "init_args": {"transforms": inner, "p": 1}}], 40)
    image = make_sample(height=40, width=40)["image"]
    seen = {augment({"image": image}, 0, index)["image"].tobytes() for index in range(30)}
    assert seen == {np.ascontiguousarray(image[:, ::-1]).tobytes(), image[::-1].tobytes()}


LIST_FAULTS: dict[str, tuple[Any, str]] = {
    "unknown preset": ("ligth", "unknown preset 'ligth'; use none, light, medium, strong"),
    "unknown transform": (
        [{"class_path": "HorizontalFlop"}],
        "no transform 'HorizontalFlop'; did you mean 'HorizontalFlip'",
    ),
    "unknown of a module": (
        [{"class_path": "albumentations.Blurr"}],
        "no transform 'albumentations.Blurr'; did you mean 'Blur'",
    ),
    "unknown of ours": ([{"class_path": "ObjectCrob"}], "no transform 'ObjectCrob'; did you mean 'ObjectCrop'"),
    "nothing like it": ([{"class_path": "Qqqq"}], r"no transform 'Qqqq'\."),
    "unknown module": (
        [{"class_path": "albumentation.Blur"}],
        "no transform 'albumentation.Blur'; No module named 'albumentation'",
    ),
    "no transform": ([{"class_path": "albumentations.Compose.x"}], "no transform"),
    "a function": ([{"class_path": "numpy.abs"}], r"no transform 'numpy\.abs'"),
    "another class": ([{"class_path": "pathlib.Path"}], r"no transform 'pathlib\.Path'"),
    "misspelt argument": ([{"class_path": "HorizontalFlip", "init_args": {"prob": 1}}], "HorizontalFlip: .*'prob'"),
    "misspelt argument of ours": ([{"class_path": COLOR_JITTER, "init_args": {"hues": 1}}], "ColorJitter: .*'hues'"),
    "wrong value": ([{"class_path": "HorizontalFlip", "init_args": {"p": 7}}], "HorizontalFlip: "),
    "missing argument": ([{"class_path": "RandomCrop"}], "RandomCrop: .*height"),
    "wrong key": (
        [{"class_path": "HorizontalFlip", "args": {"p": 1}}],
        "HorizontalFlip has the key 'args'; expected init_args",
    ),
    "no class_path": ([{"init_args": {"p": 1}}], "no transform ''"),
    "inside a choice": (
        [{"class_path": "OneOf", "init_args": {"transforms": [{"class_path": "Blurr"}]}}],
        "no transform 'Blurr'; did you mean 'Blur'",
    ),
    "argument of a choice": (
        [{"class_path": "OneOf", "init_args": {"transforms": [{"class_path": "Blur"}], "prob": 1}}],
        "OneOf: .*'prob'",
    ),
}


@pytest.mark.parametrize("fault", LIST_FAULTS)
def test_a_wrong_transform_is_an_error_that_names_it(fault: str) -> None:
    transforms, message = LIST_FAULTS[fault]
    with pytest.raises(InputError, match=rf"(?s)^augment: .*{message}"):
        Augment(transforms, 32)(make_sample(), 0, 0)


@pytest.mark.parametrize("border", [cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101, cv2.BORDER_WRAP])
@pytest.mark.parametrize("name", ["Affine", "SafeRotate", "PadIfNeeded"])
def test_a_border_of_copies_is_an_error_where_an_object_has_one_box(name: str, border: int) -> None:
    """albumentations may put the box on a copy. Labels and masks do not mind, nor do other borders."""
    steps = [{"class_path": "OneOf", "init_args": {"transforms": [{"class_path": name, "init_args": {}}]}}]
    sample = make_sample(0, 50, 70)
    for mode in (border, cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE):
        steps[0]["init_args"]["transforms"][0]["init_args"]["border_mode"] = mode
        augment = Augment(steps, 48)
        augment({key: sample[key] for key in ("image", "label", "mask")}, 0, 0)
        if mode != border:
            augment(sample, 0, 0)
            continue
        with pytest.raises(InputError, match=f"border of {name} repeats the image, .* Set `border_mode: 0`"):
            augment(sample, 0, 0)


def test_a_wrong_list_is_an_error_before_the_first_sample() -> None:
    with pytest.raises(InputError, match="'HorizontalFlip'"):
        Augment([{"class_path": "HorizontalFlop"}], 32)


def test_every_preset_is_built_strictly() -> None:
    for name in PRESETS:
        A.Compose(preset(name, 32), strict=True)


# Resizing

SIZES = [(1, 1), (1, 300), (300, 1), (2, 5000), (37, 53), (53, 37), (64, 64), (63, 65), (128, 128), (300, 200)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resizing_keeps_the_contract_for_any_size(height: int, width: int, mode: str) -> None:
    sample = {
        "image": np.full((height, width, 3), 200, np.uint8),
        "mask": np.ones((height, width), np.uint8),
        "bbox": np.array([0, 0, width, height], np.float32),
    }
    result = resize_sample(sample, 64, mode)
    assert result["image"].shape == (64, 64, 3)
    assert result["image"].dtype == np.uint8
    assert result["image"].flags.c_contiguous
    assert result["mask"].shape == (64, 64)
    assert result["mask"].dtype == np.uint8
    assert result["bbox"].dtype == np.float32
    assert result["bbox"].tolist() == extent(result["mask"]).tolist()  # the whole image, so no rounding
    x1, y1, x2, y2 = result["bbox"].astype(int)
    assert (result["image"][y1:y2, x1:x2] == 200).all()
    outside = np.ones((64, 64), bool)
    outside[y1:y2, x1:x2] = False
    assert (result["image"][outside] == 114).all()
    assert (result["mask"][outside] == 255).all()
    if mode != "letterbox":
        assert not outside.any()
    else:
        long, short = max(height, width), min(height, width)
        assert sorted([x2 - x1, y2 - y1]) == [max(1, round(short * 64 / long)), 64]
        assert abs(x1 - (64 - x2)) <= 1
        assert abs(y1 - (64 - y2)) <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (37, 53), (100, 250), (31, 33), (64, 64)])
def test_resizing_puts_every_pixel_where_the_geometry_says(height: int, width: int, mode: str) -> None:
    """The image holds its own columns and rows, so that the result shows where each pixel came from."""
    rows, columns = np.mgrid[:height, :width]
    image = np.dstack([columns, rows, np.zeros_like(rows)]).astype(np.uint8)
    result = resize_sample({"image": image}, 64, mode)["image"].astype(float)
    scale_x, scale_y = {
        "stretch": (64 / width, 64 / height),
        "letterbox": (64 / max(height, width),) * 2,
        "crop": (64 / min(height, width),) * 2,
    }[mode]
    place = np.arange(64) + 0.5 - 32  # from the center of the result
    for channel, length, scale, axis in ((0, width, scale_x, 1), (1, height, scale_y, 0)):
        expected = place / scale + length / 2 - 0.5
        inside = (expected >= 1) & (expected <= length - 2)
        found = result[..., channel] if axis == 1 else result[..., channel].T
        holds = result[32, :, 2] == 0 if axis == 1 else result[:, 32, 2] == 0  # not padding
        middle = found[32]
        assert np.abs(middle - expected)[inside & holds].max() <= 1.5


@pytest.mark.parametrize(("height", "width"), [(1, 300), (300, 1), (3, 500), (200, 7), (40, 50)])
def test_a_crop_that_is_cut_before_it_is_enlarged_has_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    rng, frame = np.random.default_rng(0), Frame(height, width, (64, 48), "crop")
    image, mask = rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 9, (height, width), np.uint8)
    found = []
    for most in (0, 1e9):
        monkeypatch.setattr("visiontasks.core.resize.MOST", most)
        found.append((resize_image(image, frame).astype(int), resize_mask(mask, frame)))
    assert np.abs(found[0][0] - found[1][0]).max() <= 1
    assert (found[0][1] != found[1][1]).mean() <= 1 / 48  # a column on the edge between two pixels


@pytest.mark.parametrize("mode", MODES)
def test_a_long_and_thin_image_takes_no_more_memory_than_its_picture(mode: Any) -> None:
    """Enlarged as a whole for a crop it would have 10 GB."""
    sample = {"image": np.full((1, 65_000, 3), 7, np.uint8), "mask": np.ones((1, 65_000), np.uint8)}
    moves = [EvalTransform(224, mode), *(Augment(name, 224, mode) for name in ("none", "light", "strong"))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for move in moves:
        result = move(sample, 0, 0)
        assert result["image"].shape == (224, 224, 3)
        assert (result["mask"] == 1).any()
    spec = {"image_size": 224, "resize": mode, "crop_share": 0.875}
    assert to_picture(sample["image"], spec).shape == (224, 224, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 60_000  # kilobytes


@pytest.mark.parametrize("mode", MODES)
def test_resizing_moves_box_and_mask_with_the_image(mode: str) -> None:
    for index in range(40):
        rng = np.random.default_rng(index)
        height, width = (int(value) for value in rng.integers(20, 150, 2))
        short = min(height, width)  # inside the center square, so that `crop` loses nothing
        x1, y1 = (width - short) // 2 + short // 4, (height - short) // 2 + short // 4
        box = np.array([x1, y1, x1 + short // 2, y1 + short // 3], np.float32)
        mask = np.zeros((height, width), np.uint8)
        image = np.zeros((height, width, 3), np.uint8)
        place = np.s_[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])]
        mask[place], image[place] = 1, 255
        result = resize_sample({"image": image, "mask": mask, "bbox": box}, 64, mode)
        assert np.abs(result["bbox"] - extent(result["mask"])).max() <= 1
        assert np.abs(result["bbox"] - extent((result["image"][..., 0] > 127).astype(np.uint8))).max() <= 1.5


def test_shrinking_averages_instead_of_dropping_pixels() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[::4, ::4] = 255
    result = resize_sample({"image": image}, 64, "stretch")["image"]
    assert np.unique(result).tolist() == [16]


def test_the_eval_transform_keeps_the_targets_as_they_were_and_the_sample_it_was_given() -> None:
    sample = {**make_sample(0, 50, 70), "value": np.array([2.5, np.nan], np.float32)}
    before = {key: np.copy(value) for key, value in sample.items()}
    for mode in MODES:
        result = EvalTransform(48, mode)(sample, 5, 0)
        assert result["image"].shape == (48, 48, 3)
        assert result["mask"].shape == (48, 48)
        truth = result.pop("truth")
        assert set(truth) == {"label", "bbox", "mask", "value"}
        assert all(truth[key] is sample[key] for key in truth)
        assert all(np.array_equal(sample[key], before[key], equal_nan=key == "value") for key in before)
        again = EvalTransform(48, mode)(sample, 0, 9)
        assert again.pop("truth").keys() == truth.keys()
        resized = resize_sample(sample, 48, mode)
        for other in (again, resized):
            assert result.keys() == other.keys() == sample.keys()
            assert all(np.array_equal(result[key], other[key], equal_nan=key == "value") for key in result)
        assert not np.array_equal(result["bbox"], sample["bbox"])
        np.testing.assert_array_equal(result["value"], sample["value"])


def test_a_key_of_no_target_kind_is_an_error_wherever_a_sample_is_moved() -> None:
    sample = {**make_sample(0, 50, 70), "boxes": np.zeros((2, 4), np.float32)}
    for move in (Augment("none", 48), Augment("light", 48), EvalTransform(48)):
        with pytest.raises(
            InputError, match="'boxes' is not the key of a target kind; there are value, objects, labels, label, bbox"
        ):
            move(sample, 0, 0)


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_a_box_comes_back_to_the_original_image(mode: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(20, 600, 2)
        low, high = np.sort(rng.uniform(0, 1, (2, 2)) * [width, height], 0)
        box = np.concatenate([low, high]).astype(np.float32)
        frame = Frame(int(height), int(width), 96, mode)
        np.testing.assert_allclose(frame.to_image(frame.to_picture(box)), box, atol=1e-3)
