"""From a dataset to batches: who sees which sample when, what a batch holds, and what the module tells of its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.sample import Batch, Sample
from visiontasks.data import CsvTable, ImageFolder, Shapes, Splits, VisionDataModule, VisionDataset, Windows
from visiontasks.data.augment import EvalTransform
from visiontasks.data.batches import BatchDataset, ExactBatchSampler, collate
from visiontasks.data.splits import MissingSplit


def batches_of(ranks: int, *args, epoch: int = 0, **kwargs) -> list[list[list[int]]]:
    """Indices by rank and step."""
    result = []
    for rank in range(ranks):
        sampler = ExactBatchSampler(*args, num_replicas=ranks, rank=rank, **kwargs)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler)
        assert {key_epoch for key_epoch, _ in keys} == {epoch}
        result.append([indices for _, indices in keys])
    return result


# ExactBatchSampler


def test_every_sample_comes_exactly_once_in_batches_of_nearly_one_size() -> None:
    for count in range(1, 41):
        for batch_size in range(1, 10):
            for ranks in range(1, min(4, count) + 1):
                shares = batches_of(ranks, count, batch_size, shuffle=True, epoch=count)
                assert sorted(chain(*chain(*shares))) == list(range(count))
                assert len({len(share) for share in shares}) == 1  # every rank makes the same number of steps
                sizes = {len(batch) for share in shares for batch in share}
                assert max(sizes) - min(sizes) <= 1
                assert min(sizes) >= 1
                # batches of one over ranks that do not divide the count: one rank takes two, none goes without
                assert max(sizes) <= batch_size or (batch_size == 1 and count % ranks and max(sizes) == 2)


def test_no_more_steps_are_made_than_full_batches_would_need() -> None:
    for count in (8, 9, 31, 64):
        for ranks, batch_size in ((1, 8), (2, 4), (4, 2)):
            assert len(batches_of(ranks, count, batch_size)[0]) == -(-count // 8)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("count", [8, 9, 30, 61, 64])
def test_the_same_samples_meet_in_a_step_for_any_number_of_ranks(count: int, shuffle: bool) -> None:
    steps = []
    for ranks in (1, 2, 4):
        shares = batches_of(ranks, count, 8 // ranks, shuffle=shuffle, epoch=3)
        steps.append([sorted(chain(*step)) for step in zip(*shares, strict=True)])
    assert steps[0] == steps[1] == steps[2]


def test_without_shuffle_the_samples_come_in_order() -> None:
    assert list(chain(*batches_of(1, 23, 5)[0])) == list(range(23))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        torch.manual_seed(np.random.default_rng().integers(1000))  # no global generator has a say
        return tuple(chain(*batches_of(1, 40, 4, shuffle=True, seed=seed, epoch=epoch)[0]))

    orders = {(seed, epoch): order(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    assert all(order(*key) == value for key, value in orders.items())


def test_weights_draw_with_replacement_in_their_proportion_and_alike_on_all_ranks() -> None:
    weights = np.array([1.0, 0.0, 3.0, 0.0] * 10)
    drawn = [list(chain(*chain(*batches_of(2, 40, 5, weights=weights, epoch=epoch)))) for epoch in range(60)]
    assert {len(epoch) for epoch in drawn} == {40}
    found = np.bincount(np.concatenate(drawn), minlength=40)
    assert found[1::2].sum() == 0
    assert abs(found[2::4].sum() / found.sum() - 0.75) < 0.03
    one = [sorted(batch) for batch in batches_of(1, 40, 10, weights=weights)[0]]
    two = [sorted(chain(*step)) for step in zip(*batches_of(2, 40, 5, weights=weights), strict=True)]
    assert one == two


def test_fewer_samples_than_ranks_is_an_error() -> None:
    with pytest.raises(InputError, match="3 samples cannot be divided over 4 processes"):
        ExactBatchSampler(3, 8, num_replicas=4, rank=0)


# BatchDataset and collate


def test_a_batch_has_the_samples_of_its_key() -> None:
    dataset = Shapes("train", count=10, size=16)
    names = {key: dataset.names(key) for key in ("label", "bbox", "mask")}
    batch = BatchDataset(dataset, EvalTransform(16), names)[0, [4, 2]]
    assert batch["index"].tolist() == [4, 2]
    assert set(batch) == {"image", "index", "size", "truth", *names}


def test_the_transform_is_told_epoch_and_index() -> None:
    told = []

    def transform(sample: Sample, epoch: int, index: int) -> Sample:
        told.append((epoch, index))
        return sample

    batches = BatchDataset(Shapes("train", count=10, size=16), transform, {})
    batches[(7, [5, 2])]
    assert told == [(7, 5), (7, 2)]
    assert batches.sample(3, 8)["index"] == 8
    assert told[2:] == [(3, 8)]


def sample(index: int, height: int = 6, width: int = 8, **targets) -> Sample:
    image = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
    return {"image": image, "index": index, "size": (30 + index, 40), **targets}


NAMES = {"label": ["a", "b", "c"], "bbox": ["a", "b", "c"], "mask": ["ground", "thing"], "value": ["age", "height"]}


def test_a_batch_holds_what_the_contract_says() -> None:
    box, numbers = np.array([2, 3, 4, 6], np.float32), np.array([7.5, -1], np.float32)
    samples = [sample(i, label=i, bbox=box, mask=np.full((6, 8), i, np.uint8), value=numbers) for i in range(3)]
    batch = collate(samples, NAMES)
    assert {key: (value.dtype, tuple(value.shape)) for key, value in batch.items()} == {
        "image": (torch.uint8, (3, 3, 6, 8)),
        "label": (torch.int64, (3,)),
        "bbox": (torch.float32, (3, 4)),
        "mask": (torch.uint8, (3, 6, 8)),
        "value": (torch.float32, (3, 2)),
        "index": (torch.int64, (3,)),
        "size": (torch.int64, (3, 2)),
    }
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch["bbox"], torch.tensor([[2 / 8, 3 / 6, 4 / 8, 6 / 6]] * 3))
    assert batch["size"].tolist() == [[30, 40], [31, 40], [32, 40]]
    assert batch["value"].tolist() == [[7.5, -1]] * 3
    for i in range(3):
        np.testing.assert_array_equal(batch["image"][i].permute(1, 2, 0).numpy(), samples[i]["image"])


def test_a_batch_has_the_declared_keys_whatever_its_samples_have() -> None:
    samples = [sample(0, label=1), sample(1)]
    assert set(collate(samples, {})) == {"image", "index", "size"}
    batch = collate(samples, NAMES)
    assert set(batch) == {"image", "index", "size", *NAMES}
    assert batch["value"].shape == (2, 2)
    assert batch["value"].isnan().all()
    assert batch["bbox"].isnan().all()
    assert (batch["mask"] == 255).all()
    assert batch["mask"].shape == (2, 6, 8)


def test_a_key_of_no_target_kind_is_an_error_that_names_the_kinds() -> None:
    message = (
        "'boxes' is not the key of a target kind; there are value, objects, labels, label, bbox, mask. Rename the key"
    )
    with pytest.raises(InputError, match=message):
        collate([sample(0), sample(1, boxes=np.zeros((2, 4), np.float32))], NAMES)
    with pytest.raises(InputError, match=message):
        collate([sample(0)], {**NAMES, "boxes": []})


def test_targets_that_some_samples_lack_are_filled_with_what_is_left_out() -> None:
    box = np.array([0, 0, 8, 3], np.float32)
    mask = np.ones((6, 8), np.uint8)
    numbers = np.array([3, np.nan], np.float32)
    batch = collate([sample(0, label=2), sample(1, bbox=box), sample(2, mask=mask), sample(3, value=numbers)], NAMES)
    assert batch["label"].tolist() == [2, -100, -100, -100]
    assert batch["bbox"][1].tolist() == [0, 0, 1, 0.5]
    assert batch["bbox"][[0, 2, 3]].isnan().all()
    assert (batch["mask"][2] == 1).all()
    assert (batch["mask"][[0, 1, 3]] == 255).all()
    assert batch["mask"].dtype == torch.uint8
    assert batch["value"][3, 0] == 3
    assert batch["value"].isnan().sum() == 7


def test_true_masks_of_different_size_stay_a_list() -> None:
    truths = [{"mask": np.zeros((30, 40), np.uint8)}, {"mask": np.ones((20, 10), np.uint8), "label": 1}, {}]
    batch = collate([sample(i, truth=truth) for i, truth in enumerate(truths)], NAMES)
    assert isinstance(batch["truth"], list)
    assert all(found is truth for found, truth in zip(batch["truth"], truths, strict=True))


# VisionDataModule


class Sparse(VisionDataset):
    """Gray pictures; only the first one of train has a label."""

    class_names = ["a", "b", "c"]  # noqa: RUF012

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return 5

    def image(self, index: int) -> np.ndarray:
        return np.full((12, 16, 3), 50 + index, np.uint8)

    def target(self, index: int) -> dict[str, Any]:
        return {"label": 2} if self.split == "train" and not index else {}

    def name(self, index: int) -> str:
        return f"{self.split} {index}"


def shapes(count: int = 16, size: int = 24, **kwargs) -> VisionDataModule:
    return VisionDataModule(partial(Shapes, count=count, size=size), **{"image_size": 24, "batch_size": 4, **kwargs})


def epochs(data: VisionDataModule, numbers: range) -> Iterator[list[Batch]]:
    loader = data.train_dataloader()
    for number in numbers:
        loader.sampler.set_epoch(number)
        yield list(loader)


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for key in first:
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, equal_nan=True)


def test_batches_are_the_same_for_any_number_of_workers_and_after_a_restart() -> None:
    alone = list(epochs(shapes(15, augment="medium", num_workers=0), range(3)))
    helped = list(epochs(shapes(15, augment="medium", num_workers=2), range(3)))  # the workers persist
    for one, other in zip(alone, helped, strict=True):
        assert_equal(one, other)
    (resumed,) = epochs(shapes(15, augment="medium", num_workers=0), range(2, 3))
    assert_equal(alone[2], resumed)


def test_another_epoch_and_another_seed_give_other_orders_and_other_pictures() -> None:
    runs = [next(epochs(shapes(seed=seed), range(epoch, epoch + 1))) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    orders, pictures = [], []
    for batches in runs:
        index = torch.cat([batch["index"] for batch in batches])
        assert sorted(index.tolist()) == list(range(16))
        orders.append(tuple(index.tolist()))
        pictures.append(torch.cat([batch["image"] for batch in batches])[index.argsort()])
    assert len(set(orders)) == 3
    for i in range(16):
        assert len({images[i].numpy().tobytes() for images in pictures}) == 3


def test_val_and_test_are_in_order_whole_and_only_resized() -> None:
    data = shapes(size=32, batch_size=3)
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches = list(loader)
        assert torch.cat([batch["index"] for batch in batches]).tolist() == [0, 1, 2, 3]
        dataset = Shapes(split, count=16, size=32)
        expected = [EvalTransform(24)(dataset[i], 0, i) for i in range(4)]
        images = torch.cat([batch["image"] for batch in batches]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(images, np.stack([sample["image"] for sample in expected]))
        assert batches[0]["mask"].shape[1:] == (24, 24)
        truths = [truth for batch in batches for truth in batch["truth"]]
        for i, truth in enumerate(truths):
            assert set(truth) == {"label", "bbox", "mask", "value", "labels"}
            assert truth["label"] == dataset.target(i)["label"]
            np.testing.assert_array_equal(truth["bbox"], dataset.target(i)["bbox"])
            np.testing.assert_array_equal(truth["mask"], dataset.mask(i))
        assert batches[0]["size"].tolist()[0] == [32, 32]


def test_two_ranks_load_together_what_one_loads() -> None:
    data = shapes(15, batch_size=8)
    one = list(data.loader("train", training=True, rank=0, num_replicas=1))
    half = shapes(15, batch_size=4)
    shares = [list(half.loader("train", training=True, rank=rank, num_replicas=2)) for rank in range(2)]
    for whole, *parts in zip(one, *shares, strict=True):
        index = torch.cat([part["index"] for part in parts])
        images = torch.cat([part["image"] for part in parts])
        assert sorted(index.tolist()) == sorted(whole["index"].tolist())
        assert torch.equal(images[index.argsort()], whole["image"][whole["index"].argsort()])


def test_balance_makes_the_classes_come_equally_often(class_folders: Path) -> None:
    for path in list((class_folders / "train/red").iterdir())[2:]:
        path.unlink()
    data = VisionDataModule(partial(ImageFolder, root=str(class_folders)), balance=True)
    labels = data.dataset("train").labels()
    assert np.bincount(labels).tolist() == [8, 8, 2]
    sampler = data.train_dataloader().sampler
    drawn = []
    for epoch in range(200):
        sampler.set_epoch(epoch)
        drawn += chain(*(indices for _, indices in sampler))
    shares = np.bincount(labels[drawn]) / len(drawn)
    assert np.abs(shares - 1 / 3).max() < 0.03
    assert list(chain(*(indices for _, indices in data.val_dataloader().sampler))) == list(range(9))


def test_the_spec_is_what_a_model_needs_and_nothing_else() -> None:
    assert shapes(resize="crop").spec == {
        "class_names": ["circle", "square", "triangle", "star"],
        "mask_names": ["background", "circle", "square", "triangle", "star"],
        "value_names": ["area"],
        "labels_names": ["circle", "square", "triangle", "star"],
        "image_size": 24,
        "resize": "crop",
    }
    assert VisionDataModule(Sparse, (8, 16)).spec == {
        "class_names": ["a", "b", "c"],
        "mask_names": [],
        "image_size": [8, 16],
        "resize": "stretch",
    }


def test_the_module_tells_of_its_training_set_the_label_counts_the_fingerprint_and_the_keys(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'cat' if i < 3 else 'dog'},{'train' if i < 7 else 'val'}" for i in range(9)]
    for i in range(9):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{i}.png")
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split", *rows]))
    dataset = partial(CsvTable, path=str(tmp_path / "table.csv"), class_names=["dog", "yak", "cat", "zebu"])
    data = VisionDataModule(dataset)
    summary = data.summary("label")
    assert set(summary) == {"counts"}
    assert summary["counts"].tolist() == [4, 0, 3, 0]
    assert summary["counts"].dtype == np.int64
    assert data.fingerprint == dataset("train").fingerprint() != dataset("val").fingerprint()
    assert data.keys == ("label",)


def test_masks_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shapes(8)
    masks = [Shapes("train", count=8, size=24).mask(i) for i in range(8)]
    assert set(data.keys) == {"label", "bbox", "mask", "value", "labels"}
    read: list[int] = []
    real = Shapes.mask
    monkeypatch.setattr(Shapes, "mask", lambda self, index: read.append(index) or real(self, index))
    for _ in range(2):
        found = data.summary("mask")
        pixels = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=5)
        assert found["pixels"].tolist() == pixels.tolist()
        assert found["totals"].tolist() == [24 * 24 * sum((mask == c).any() for mask in masks) for c in range(5)]
        assert found["places"].sum() == 8 * 64 * 64
    assert read == list(range(8))


class Odd(Sparse):
    """Pictures of a kind of target that there is not."""

    def target(self, index: int) -> dict[str, Any]:
        return {"label": 0, "boxes": np.zeros((2, 4), np.float32)}


def test_a_set_of_an_unknown_key_is_refused_before_a_batch_is_made() -> None:
    data = VisionDataModule(Odd, 16, batch_size=4)
    for ask in (lambda: data.keys, data.val_dataloader):
        with pytest.raises(InputError, match="'boxes' is not the key of a target kind"):
            ask()


def test_keys_that_one_training_image_has_are_in_every_batch_of_every_split() -> None:
    data = VisionDataModule(Sparse, 16, augment="none", batch_size=2)
    for split in ("train", "val"):
        labels = [batch["label"].tolist() for batch in data.loader(split)]
        expected = [-100] * len(data.dataset(split))
        if split == "train":
            expected[0] = 2
        assert list(chain(*labels)) == expected


def test_channel_statistics_are_those_of_all_training_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = []
    for i in range(11):
        image = (rng.normal([60, 120, 200], [10, 30, 50], (16, 16, 3)) + 3 * i).clip(0, 255).astype(np.uint8)
        path = tmp_path / "train" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        pixels.append(image)
    shutil.copytree(tmp_path / "train" / "a", tmp_path / "val" / "a")
    data = VisionDataModule(partial(ImageFolder, root=str(tmp_path)), image_size=16, batch_size=4, augment="medium")
    mean, std = data.channel_statistics
    flat = np.concatenate(pixels).reshape(-1, 3) / 255
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean.numpy(), flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), flat.std(0), rtol=1e-5)


def test_channel_statistics_of_one_flat_color_are_finite(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (51, 102, 255)).save(tmp_path / "train" / name / "0.png")
    mean, std = VisionDataModule(partial(ImageFolder, root=str(tmp_path)), image_size=8).channel_statistics
    np.testing.assert_allclose(mean.numpy(), [0.2, 0.4, 1.0], atol=1e-6)
    assert (std > 0).all()


def test_test_without_a_test_split_uses_val_and_says_so(class_folders: Path, caplog: Any) -> None:
    shutil.rmtree(class_folders / "test")
    data = VisionDataModule(partial(ImageFolder, root=str(class_folders)), image_size=16)
    with caplog.at_level("INFO"):
        loader = data.test_dataloader()
    (line,) = caplog.messages
    assert line == "There is no test split, so the figures are those of val."
    assert data.test_split == "val"
    assert_equal(list(loader), list(data.val_dataloader()))
    with pytest.raises(MissingSplit):
        data.loader("test")


def test_a_dataset_is_opened_once_a_split_and_only_when_asked_for() -> None:
    opened = []

    def dataset(split: str) -> Shapes:
        opened.append(split)
        return Shapes(split, count=8, size=16)

    data = VisionDataModule(dataset, image_size=16)
    assert opened == []
    data.spec, data.keys, data.fingerprint, data.summary("label"), data.channel_statistics
    data.train_dataloader()
    assert opened == ["train"]
    data.val_dataloader(), data.val_dataloader()
    assert opened == ["train", "val"]


def test_too_few_samples_for_the_ranks_is_an_error() -> None:
    with pytest.raises(InputError, match="2 samples cannot be divided over 3 processes"):
        shapes(8).loader("val", rank=0, num_replicas=3)


@pytest.mark.parametrize("arguments", [{"image_size": 0}, {"batch_size": 0}, {"batch_size": -1}])
def test_sizes_that_cannot_be_are_an_error(arguments: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"data: image_size=.* must be positive"):
        shapes(**arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named_from_the_loader(class_folders: Path, workers: int) -> None:
    path = next((class_folders / "val/green").iterdir())
    path.write_bytes(b"")
    dataset = partial(ImageFolder, root=str(class_folders), splits=Splits())
    data = VisionDataModule(dataset, image_size=16, num_workers=workers)
    with pytest.raises(InputError, match=path.name):
        list(data.val_dataloader())


def test_the_gray_range_reaches_datasets_and_the_spec(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.full((8, 8), 1024, np.uint16)).save(tmp_path / split / name / "0.png")
    folder = partial(ImageFolder, root=str(tmp_path))
    for make in (folder, partial(Windows, source=folder)):
        data = VisionDataModule(make, 8, gray_range=(0, 2048))
        assert data.spec["gray_range"] == [0, 2048]
        assert {*np.unique(data.dataset("val").image(0)).tolist()} - {114} == {128}  # 114 outside of an image
    plain = VisionDataModule(folder, 8)
    assert "gray_range" not in plain.spec
    with pytest.raises(
        InputError, match=r"0\.png: 16-bit pixel values end at 1024, .*`data\.gray_range` .* \[0, 4095\]"
    ):
        plain.dataset("train").image(0)


def write_stacks(root: Path, **counts: int) -> Callable[[str], VisionDataset]:
    """TIFF files of these numbers of pages in two classes; page n is gray of 40 n, and no two files are the same."""
    for place, folder in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (root / folder).mkdir(parents=True)
        for name, count in counts.items():
            pages = [Image.new("L", (8, 8 + place), 40 * number) for number in range(1, count + 1)]
            pages[0].save(root / folder / f"{name}.tif", save_all=True, append_images=pages[1:])
    return partial(ImageFolder, root=str(root))


def test_the_page_reaches_datasets_and_the_spec(tmp_path: Path) -> None:
    folder = write_stacks(tmp_path, x=3, y=4)
    for make in (folder, partial(Windows, source=folder)):
        data = VisionDataModule(make, 8, page=3)
        assert data.spec["page"] == 3
        train = data.dataset("train")
        values = {value for i in range(len(train)) for value in np.unique(train.image(i)).tolist()}
        assert values - {114} == {120}  # 114 outside of an image
    lacking = VisionDataModule(folder, 8, page=4)
    with pytest.raises(
        InputError, match=r"a/x\.tif: no page 4; the file has 3\. 2 of 4 files lack it: .*b/x\.tif\. Set"
    ):
        lacking.dataset("train")


def test_files_with_several_pages_are_counted_unless_a_page_is_chosen(tmp_path: Path, recwarn: Any) -> None:
    folder = write_stacks(tmp_path, x=1, y=4)
    assert VisionDataModule(folder, 8, page=1).dataset("train").image(1).max() == 40
    assert not len(recwarn)
    data = VisionDataModule(folder, 8)
    text = r"2 of 4 image files have several pages \(.*a/y\.tif has 4\); only the first is read\. Set `data\.page`"
    with pytest.warns(UserWarning, match=text):
        assert data.dataset("train").image(1).max() == 40
    assert "page" not in data.spec


def test_boxes_belong_to_pages_of_one_size(tmp_path: Path) -> None:
    image = Image.new("L", (20, 20))
    for name, size in (("a", 20), ("b", 16)):
        image.save(tmp_path / f"{name}.tif", save_all=True, append_images=[Image.new("L", (size, size), 80)])
        (tmp_path / f"{name}.csv").write_text(f"path,label,xmin,ymin,xmax,ymax\n{name}.tif,x,1,1,18,18\n")
    tables = [partial(CsvTable, path=str(tmp_path / f"{name}.csv"), splits=Splits(val=0.0)) for name in "ab"]
    same, other = (VisionDataModule(table, 8, page=2) for table in tables)
    assert same.dataset("train").image(0).max() == 80
    with pytest.raises(InputError, match=r"b\.tif: page 2 has 16 x 16 pixels, and page 1, by which .* has 20 x 20"):
        other.dataset("train")


@pytest.mark.parametrize("page", [0, -1, True, 1.0])
def test_a_page_that_is_no_number_of_one_is_an_error(page: Any) -> None:
    with pytest.raises(InputError, match=r"data\.page: .* must be 1, the first page, or more"):
        VisionDataModule(partial(Shapes, count=8), 32, page=page)


@pytest.mark.parametrize("value", [(1.0, 1.0), (9.0, 0.0), (0.0, float("inf")), (0.0, float("nan"))])
def test_a_gray_range_without_sense_is_an_error(value: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"data\.gray_range: .* must be two numbers"):
        VisionDataModule(partial(Shapes, count=8), 32, gray_range=value)
