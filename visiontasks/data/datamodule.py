"""The DataModule of all tasks."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from visiontasks.core.depth import is_gray_range
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import MAX_PIXELS, Frame, Resize, Size, height_width, is_picture
from visiontasks.core.headers import is_page
from visiontasks.core.memory import garbage_kept
from visiontasks.core.progress import track
from visiontasks.core.tables import some
from visiontasks.data.augment import Augment, EvalTransform, Preset
from visiontasks.data.batches import BatchDataset, BatchLoader, ExactBatchSampler, as_is, count_workers, start_worker
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.copies import warn_of_copies
from visiontasks.data.mosaic import Mosaic, check_mosaic
from visiontasks.data.splits import MissingSplit
from visiontasks.data.statistics import channel_statistics, pixel_statistics
from visiontasks.targets import Known, find_target, target_kinds


class VisionDataModule(LightningDataModule):
    """Loads a dataset for training, validation and testing.

    Args:
        dataset: Dataset class with all arguments but its split; it is called with train, val or test.
        image_size: Size of the images in a batch in pixels: one number for a square, or height and width.
        resize: How an image gets this size: `stretch` changes the aspect, `letterbox` pads, `crop` cuts out the center.
        augment: Augmentation of training images: a preset or a list of albumentations (`class_path` and `init_args`).
        batch_size: Largest number of samples per batch and device.
        num_workers: Loader processes; by default none on a CPU (the model needs its cores), else up to 8 per device.
        balance: Draw training samples so that all classes occur equally often.
        seed: Seed of the order and of the augmentation.
        train_size: Size of the training images, if not `image_size`: parts of images at the scale of val and test.
        gray_range: Values that become black and white in gray images of more than 8 bits, for example [0, 4095]; values
            beyond them are clipped. By default 16-bit images are read from 0 to 65535.
        page: Page or frame of image files that have several, from 1 on; by default the first, with a warning.
        mosaic: Share of the training images, 0..1, that are joined with three others before the augmentation; only for
            `objects`.
        check: Check headers, classes, boxes and splits before a fit; see `visiontasks doctor`.
    """

    def __init__(
        self,
        dataset: Callable[[str], VisionDataset],
        image_size: Size = 224,
        resize: Resize = "stretch",
        augment: Preset | list[dict[str, Any]] = "medium",
        batch_size: int = 32,
        num_workers: int | None = None,
        balance: bool = False,
        seed: int = 0,
        train_size: Size | None = None,
        gray_range: tuple[float, float] | None = None,
        page: int | None = None,
        mosaic: float = 0.0,
        check: bool = True,
    ) -> None:
        super().__init__()
        check_mosaic(mosaic)
        if not is_picture(image_size) or not is_picture(1 if train_size is None else train_size) or batch_size < 1:
            what = f"data: {image_size=}, {train_size=}, {batch_size=} must be positive"
            raise InputError(f"{what}, and images have at most {MAX_PIXELS:,} pixels.")
        if not callable(dataset):
            raise InputError(f"data.dataset: found {dataset!r}; expected a class, such as {{class_path: ImageFolder}}.")
        if num_workers is not None and num_workers < 0:
            raise InputError(f"data.num_workers: {num_workers} must be 0 or more.")
        if not is_gray_range(gray_range):
            raise InputError(f"data.gray_range: {gray_range} must be two numbers, first the one that becomes black.")
        if not is_page(page):
            raise InputError(f"data.page: {page} must be 1, the first page, or more.")
        self.make_dataset, self.gray_range, self.page, self.mosaic = dataset, gray_range, page, mosaic
        self.check = check
        self.image_size, self.resize = image_size, resize
        self.augment = Augment(augment, image_size, resize, seed, train_size)
        self.batch_size, self.num_workers, self.balance, self.seed = batch_size, num_workers, balance, seed
        self._datasets: dict[str, VisionDataset] = {}
        self._summaries: dict[str, dict[str, np.ndarray]] = {}

    def dataset(self, split: str) -> VisionDataset:
        """Returns the dataset of a split, which is made once; raises `MissingSplit` if the split is missing."""
        if split not in self._datasets:
            with garbage_kept():
                made = self.make_dataset(split)
            made.set_reading(self.gray_range, self.page)
            train = made if split == "train" else self.dataset("train")
            for key, kind in target_kinds().items():
                if (found := made.names(key)) != (known := train.names(key)):
                    raise InputError(f"{kind.names_key}: {split} has {found}, train {known}. Give both the same.")
            if made is not train:
                warn_of_copies(train, made, split)
            self._datasets[split] = made
        return self._datasets[split]

    @property
    def spec(self) -> dict[str, Any]:
        """What a model has to know about the data: the class names, `image_size` and `resize`."""
        train, size = self.dataset("train"), self.image_size
        names = {kind.names_key: train.names(key) for key, kind in target_kinds().items()}
        known = {name: value for name, value in names.items() if value or name in ("class_names", "mask_names")}
        how = {"gray_range": self.gray_range and list(self.gray_range), "page": self.page}
        read = {name: value for name, value in how.items() if value}
        return {**known, "image_size": size if isinstance(size, int) else list(size), "resize": self.resize, **read}

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Keys of the targets that at least one training image has; a key of no target kind is an `InputError`."""
        train = self.dataset("train")
        known = {key: find_target(key) for target in self.targets for key in target}
        return (*known, *(key for key, kind in target_kinds().items() if kind.dense and train.names(key)))

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the training set; see `VisionDataset.fingerprint`."""
        return self.dataset("train").fingerprint(self.targets)

    @cached_property
    def targets(self) -> list[dict[str, Any]]:
        """The targets of each training image, which are read once."""
        train = self.dataset("train")
        with garbage_kept():
            return [train.target(index) for index in range(len(train))]

    def summary(self, key: str) -> dict[str, np.ndarray]:
        """Summarizes the training values of a target, counted once; see `Target.summary`."""
        if key not in self._summaries:
            self._summaries[key] = self._dense_summary(key) if find_target(key).dense else self._summary(key, 0, 1)
        return self._summaries[key]

    def check_classes(self, key: str) -> None:
        """Raises an `InputError` if a class of a target never occurs in training."""
        shares, what = self.class_shares(key), "pixel" if find_target(key).dense else "image"
        if absent := [repr(name) for name, share in shares.items() if not share]:
            fault = f"{len(absent)} of {len(shares)} classes have no {what} in training: {some(absent)}"
            fix = f"Add such {what}s, or leave the classes out of `class_names`."
            raise InputError(f"{find_target(key).names_key}: {fault}. {fix}")

    def class_shares(self, key: str) -> dict[str, float]:
        """Returns the share of the training images (or pixels) with each class of a target; none without classes."""
        kind, train = find_target(key), self.dataset("train")
        if not (kind.occurrence and train.names(key)):
            return {}
        counts = self.summary(key)[kind.occurrence]
        total = counts.sum() if kind.dense or key == "label" else len(train)
        return dict(zip(train.names(key), (counts / total).tolist(), strict=True))

    def _summary(self, key: str, rank: int, ranks: int) -> dict[str, np.ndarray]:
        train, kind = self.dataset("train"), find_target(key)
        share = range(rank, len(train), ranks)
        shown = track(share, "Counting pixels", hidden=rank > 0 or not kind.dense)
        values = ((train.mask(i) if kind.dense else self.targets[i].get(key), i) for i in shown)
        known = (Known(v, partial(self._frame, train, i), train.name(i)) for v, i in values if v is not None)
        return kind.summary(known, train.names(key))

    def _dense_summary(self, key: str) -> dict[str, np.ndarray]:
        """Reading all masks takes long: each process reads a part, and the sums are added."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        every: list[Any]
        try:
            every = [self._summary(key, rank, ranks)] * ranks
        except InputError as error:
            every = [error] * ranks  # all processes must know it, or the others would wait for this one
        if ranks > 1:
            torch.distributed.all_gather_object(every, every[rank])
        for part in every:
            if isinstance(part, InputError):
                raise part
        return {name: np.sum([part[name] for part in every], axis=0) for name in every[0]}

    def _frame(self, dataset: VisionDataset, index: int) -> Frame:
        return Frame(*dataset.size(index), self.image_size, self.resize)

    @cached_property
    def channel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each channel over all training pixels, float32 (3,), 0..1."""
        return channel_statistics(self.loader("train", rank=0, num_replicas=1))

    @cached_property
    def pixel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean training image, float64 (3, H, W), 0..1, and covariance of its pixels, (3 H W, 3 H W)."""
        batches = track(self.loader("train", rank=0, num_replicas=1), "Covariance of pixels")
        return pixel_statistics(batches, height_width(self.image_size))

    def train_dataloader(self) -> DataLoader:
        return self.loader("train", training=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.test_split)

    @cached_property
    def test_split(self) -> str:
        """The split that a test is about: `test`, or `val` if there is none."""
        try:
            self.dataset("test")
        except MissingSplit:
            rank_zero_info("There is no test split, so the figures are those of val.")
            return "val"
        return "test"

    def loader(self, split: str, training: bool = False, augment: bool = False, **ranks: int) -> DataLoader:
        """Returns the loader of a split: shuffled, balanced and augmented for `training`, else in order, only resized.

        `augment` alone augments but keeps the order. `ranks` are `rank` and `num_replicas` instead of the trainer's.
        """
        dataset = self.dataset(split)
        if training and len(dataset) < 2:
            raise InputError(f"training has {len(dataset)} image, and batch norm needs at least two. Add images.")
        # with overfit_batches, each epoch has the same batches
        shuffle, weights = training and not getattr(self.trainer, "overfit_batches", 0), None
        if shuffle and self.balance:
            labels = dataset.labels()
            weights = 1 / np.bincount(labels)[labels]
        if self.trainer and not ranks:
            ranks = {"rank": self.trainer.global_rank, "num_replicas": self.trainer.world_size}
        sampler = ExactBatchSampler(len(dataset), self.batch_size, shuffle, weights, self.seed, **ranks)
        if training and (trainer := self.trainer):
            sampler.start = lambda: trainer.fit_loop.batch_idx + 1  # not 0 if a fit resumes within an epoch
        transform = self.augment if training or augment else EvalTransform(self.image_size, self.resize)
        names, workers = {key: dataset.names(key) for key in self.keys}, count_workers(self.num_workers, self.trainer)
        mosaic = None
        if training and self.mosaic:
            check_mosaic(self.mosaic, self.keys)
            mosaic = Mosaic(dataset, self.mosaic, self.image_size, self.resize, self.seed)
        return BatchLoader(
            dataset=BatchDataset(dataset, transform, names, mosaic),
            sampler=sampler,
            batch_size=None,  # a key is already a whole batch
            collate_fn=as_is,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=start_worker,
        )
