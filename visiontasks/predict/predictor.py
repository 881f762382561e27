"""A trained model with the reading and preprocessing of images, without torch."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.images import reading
from visiontasks.core.objects import Objects
from visiontasks.core.resize import to_picture
from visiontasks.core.sample import Sample
from visiontasks.core.serialize import Trusted
from visiontasks.predict.augmentation import TestTimeAugmentation
from visiontasks.predict.networks import Network, open_network
from visiontasks.predict.sources import Given, Skipped, Source, Unreadable, given_sources
from visiontasks.predict.thresholds import Thresholded
from visiontasks.predict.tiles import tiled_mask, tiled_objects
from visiontasks.targets import find_target, names_of
from visiontasks.targets.sample import predict_samples

LARGE = 3 * 2**22  # bytes from which on a picture is predicted alone

In = TypeVar("In")
Out = TypeVar("Out")
Predictions = Iterator[tuple[Source, Sample]]


class Read(NamedTuple):
    """A source with its picture and the size of its image."""

    source: Source
    index: int
    size: tuple[int, int]
    picture: np.ndarray


class Predictor:
    """Predicts images with a trained network of any backend.

    Attributes:
        network: The trained network.
        spec: `class_names`, `mask_names`, `image_size` and `resize`.
        class_names: Names of the classes.
        threshold: If given, the score from which on a class is predicted, 0..1, in place of those of the model.

    Raises:
        InputError: The model has no thresholds, or this one is not in 0..1.
    """

    def __init__(self, network: Network, threshold: float | None = None) -> None:
        self.network, self.spec = network, network.spec
        if threshold is not None:
            self.network = Thresholded(network, threshold)
        self.class_names: list[str] = network.spec.get("class_names", [])

    @classmethod
    def open(
        cls,
        model: str,
        trust: bool | Trusted = False,
        device: str = "auto",
        pretrained: bool | str | None = None,
        threshold: float | None = None,
    ) -> Self:
        """Opens a checkpoint, an exported file or a timm network; see `open_network`."""
        return cls(open_network(model, trust, device, pretrained), threshold)

    def predict(
        self, images: Given | Iterable[Given], batch_size: int = 32, tile: int | None = None, tta: Sequence[str] = ()
    ) -> list[Sample]:
        """Predicts images.

        Args:
            images: Paths, Pillow images, or uint8 arrays (H, W, 3) in RGB; or one of them.
            batch_size: Images per batch.
            tile: If given, predict masks or objects at the resolution of the image, in tiles of this many pixels.
            tta: Test-time augmentation: any of `hflip`, `vflip`, and scales such as `1.25`; see `TestTimeAugmentation`.

        Returns:
            A dict per image, in order, with `index`, `size` (height, width), and depending on the model: for a class
            `label` (int), `class_name`, `score` (0..1) and `probabilities` (float32 (classes,)); for a box `bbox`
            (float32 (4,), xyxy in pixels of the image); for a mask `mask` (uint8 (H, W), indices of
            `spec["mask_names"]`); for objects a dict of arrays, `objects`, with `boxes`, `labels`, `scores` and whether
            each is `taken`, because its score reaches the threshold of its class.

        Raises:
            InputError: An image cannot be read, or the model does not support `tile` or `tta`.
        """
        return [sample for _, sample in self.stream(given_sources(images), batch_size, tile=tile, tta=tta)]

    def stream(
        self,
        sources: Iterable[Source],
        batch_size: int = 32,
        workers: int = 1,
        tile: int | None = None,
        tta: Sequence[str] = (),
        skipped: list[Skipped] | None = None,
    ) -> Predictions:
        """Predicts as `predict` does, but yields one prediction at a time and holds a few batches in memory at most.

        Args:
            sources: Images to predict.
            batch_size, tile, tta: See `predict`.
            workers: Threads that read ahead; 0 reads each image when it is needed.
            skipped: If given, images that cannot be read are skipped and appended here.

        Raises:
            InputError: An image cannot be read, after the predictions of all images before it; see also `predict`.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: expected at least 1 image per batch.")
        network = TestTimeAugmentation(self.network, tta) if tta else self.network
        if tile is not None:
            self.check_tile(tile)
        whole = tile is not None or self.network.resizes
        if whole:  # a large photo takes a hundred times the memory of a picture
            batch_size = 1 if tile is not None else min(batch_size, 4)

        def read(numbered: tuple[int, Source]) -> Read | Skipped:
            index, source = numbered
            try:
                image = source.read(*reading(self.spec))
                return Read(source, index, image.shape[:2], image if whole else to_picture(image, self.spec))
            except InputError as error:
                return Skipped(source.name, error)

        for batch in _batches(_ahead(read, enumerate(sources), workers, batch_size), batch_size, skipped):
            for _, same in groupby(batch, lambda item: item.picture.shape if item.picture.size < LARGE else item.index):
                yield from _predict(network, list(same), self.spec, tile)

    @property
    def is_dense(self) -> bool:
        """Whether the model predicts one target, and that per pixel."""
        return len(self.network.keys) == 1 and find_target(self.network.keys[0]).dense

    @property
    def is_list(self) -> bool:
        """Whether the model predicts one target, and that a list of any length, such as objects."""
        return len(self.network.keys) == 1 and bool(find_target(self.network.keys[0]).columns)

    def check_tile(self, tile: int) -> None:
        """Checks that the model can predict in tiles.

        Raises:
            InputError: The model predicts more than masks or objects, or takes one size only; or the tile is empty.
        """
        if not self.is_dense and not self.is_list:
            keys = ", ".join(self.network.keys)
            raise InputError(f"tile={tile}: tiles are for masks alone or objects alone; this model predicts {keys}.")
        if tile < 1:
            raise InputError(f"tile={tile}: expected the height and width of a tile in pixels.")
        if not self.network.any_size or self.network.resizes:
            raise InputError(f"tile={tile}: this model takes pictures of one size. Export it without `--resize`.")


def _predict(network: Any, items: list[Read], spec: dict[str, Any], tile: int | None) -> Predictions:
    if tile is not None:
        for item in items:
            yield item.source, {"index": item.index, "size": item.size, **_predict_tiled(network, item, spec, tile)}
        return
    outputs = network(np.stack([item.picture for item in items]).transpose(0, 3, 1, 2))
    for item, sample in zip(items, predict_samples(outputs, [item.size for item in items], spec), strict=True):
        yield item.source, {"index": item.index, **sample}


def _predict_tiled(network: Any, item: Read, spec: dict[str, Any], tile: int) -> Sample:
    (key,) = network.keys
    if find_target(key).dense:
        return {key: tiled_mask(lambda tiles: network(tiles)[key], item.picture, tile)}

    def detect(tiles: np.ndarray) -> list[Objects]:
        height, width = tiles.shape[2:]
        frame = Frame(height, width, (height, width))
        return [find_target(key).prediction(one, frame, names_of(spec, key))[key] for one in network(tiles)[key]]

    return {key: tiled_objects(detect, item.picture, tile)}


def _batches(items: Iterable[Read | Skipped], size: int, skipped: list[Skipped] | None) -> Iterator[list[Read]]:
    batch: list[Read] = []
    for item in items:
        if isinstance(item, Read):
            batch.append(item)
        elif skipped is not None:
            skipped.append(item)
        else:
            yield batch
            raise Unreadable(item) from item.reason
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _ahead(function: Callable[[In], Out], items: Iterable[In], workers: int, depth: int) -> Iterator[Out]:
    """Maps in order, like `map`, in threads that are at most `depth` items ahead."""
    if not workers:
        yield from map(function, items)
        return
    waiting: deque[Any] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
