"""A trained model with its reader and preprocessing: images in, predictions out; without torch."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.resize import to_picture
from visiontasks.core.sample import Sample
from visiontasks.core.serialize import Trusted
from visiontasks.predict.augmentation import TestTimeAugmentation
from visiontasks.predict.description import Network
from visiontasks.predict.networks import open_network
from visiontasks.predict.sources import Given, Source, given_sources
from visiontasks.predict.tiles import tiled_mask
from visiontasks.targets import find_target
from visiontasks.targets.sample import predict_samples

LARGE = 3 * 2**22  # bytes of a picture, from which on each is seen alone

In = TypeVar("In")
Out = TypeVar("Out")


class Read(NamedTuple):
    """A source that was read: its picture and the original's size, or the reason why there is none."""

    source: Source
    index: int
    size: tuple[int, int]
    picture: np.ndarray
    error: InputError | None = None


class Predictor:
    """Predicts images with a network, whatever runs it.

    Args:
        network: The trained model.

    Attributes:
        network: The same.
        spec: `class_names`, `mask_names`, `image_size` and `resize`.
        class_names: Name of every class.
    """

    def __init__(self, network: Network) -> None:
        self.network, self.spec = network, network.spec
        self.class_names: list[str] = network.spec.get("class_names", [])

    @classmethod
    def open(
        cls, model: str, trust: bool | Trusted = False, device: str = "auto", pretrained: bool | str | None = None
    ) -> Self:
        """Opens a checkpoint, an exported file or a network of timm; see `open_network`."""
        return cls(open_network(model, trust, device, pretrained))

    def predict(
        self,
        images: Given | Iterable[Given],
        batch_size: int = 32,
        tile: int | None = None,
        tta: Sequence[str] = (),
    ) -> list[Sample]:
        """Predicts images.

        Args:
            images: Paths, Pillow images, or uint8 arrays (H, W, 3) in RGB; or one of them.
            batch_size: Images at a time.
            tile: If given, a mask is predicted at the image's own resolution, in tiles of so many pixels.
            tta: Test-time augmentation: of `hflip`, `vflip`, and scales such as `1.25`; see `TestTimeAugmentation`.

        Returns:
            A dict for each image, in order, with its `index` and `size` (height, width); where there is a class `label`
            (int), `class_name`, `score` (0..1) and `probabilities` (float32 (classes,)); where there is a box `bbox`
            (float32 (4,), xyxy in pixels of the image); where there is a mask `mask` (uint8 (H, W), indices of
            `spec["mask_names"]`).

        Raises:
            InputError: An image cannot be read, or `tile` or `tta` make no sense for this model.
        """
        return [sample for _, sample in self.stream(given_sources(images), batch_size, tile=tile, tta=tta)]

    def stream(
        self,
        sources: Iterable[Source],
        batch_size: int = 32,
        workers: int = 1,
        tile: int | None = None,
        tta: Sequence[str] = (),
        skipped: list[InputError] | None = None,
    ) -> Iterator[tuple[Source, Sample]]:
        """Predicts as `predict` does, but hands on one after the other, so that no more than a few batches are kept.

        Args:
            sources: What to predict.
            batch_size: Images at a time.
            workers: Threads that read ahead; 0 reads when it is needed.
            tile: See `predict`.
            tta: See `predict`.
            skipped: If given, what cannot be read is left out and its error added here.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: expected the number of images at a time.")
        network = TestTimeAugmentation(self.network, tta) if tta else self.network
        if tile is not None:
            self.check_tile(tile)
        whole = tile is not None or self.network.resizes
        if whole:  # a large photo is a hundred times a picture
            batch_size = 1 if tile is not None else min(batch_size, 4)

        def read(numbered: tuple[int, Source]) -> Read:
            index, source = numbered
            try:
                image = source.read()
                size = image.shape[:2]
                picture = image if whole else to_picture(image, self.spec)
            except InputError as error:
                return Read(source, index, (0, 0), np.empty(0), error)
            return Read(source, index, size, picture)

        batches = _batches(_ahead(read, enumerate(sources), workers, batch_size), batch_size, skipped)
        for batch in batches:
            for _, same in groupby(batch, lambda item: item.picture.shape if item.picture.size < LARGE else item.index):
                yield from _predict(network, list(same), self.spec, tile)

    @property
    def is_dense(self) -> bool:
        """Whether the model answers one target, of each pixel."""
        return len(self.network.keys) == 1 and find_target(self.network.keys[0]).dense

    def check_tile(self, tile: int) -> None:
        """Refuses tiles where they make no sense.

        Raises:
            InputError: The model does not predict masks alone, takes one size only, or a tile would have no pixel.
        """
        if not self.is_dense:
            raise InputError(
                f"tile={tile}: tiles are for masks alone; this model answers {', '.join(self.network.keys)}."
            )
        if tile < 1:
            raise InputError(f"tile={tile}: expected the height and width of a tile in pixels.")
        if not self.network.any_size or self.network.resizes:
            raise InputError(f"tile={tile}: this model takes pictures of one size. Export it without `--resize`.")


def _predict(
    network: Any, items: list[Read], spec: dict[str, Any], tile: int | None
) -> Iterator[tuple[Source, Sample]]:
    if tile is not None:
        for item in items:
            (key,) = network.keys
            mask = tiled_mask(lambda tiles, key=key: network(tiles)[key], item.picture, tile)
            yield item.source, {"index": item.index, "size": item.size, key: mask}
        return
    outputs = network(np.stack([item.picture for item in items]).transpose(0, 3, 1, 2))
    for item, sample in zip(items, predict_samples(outputs, [item.size for item in items], spec), strict=True):
        yield item.source, {"index": item.index, **sample}


def _batches(items: Iterator[Read], size: int, skipped: list[InputError] | None) -> Iterator[list[Read]]:
    """What was read, so many at a time; what was not is an error, or is put aside."""

    def good() -> Iterator[Read]:
        for item in items:
            if item.error is None:
                yield item
            elif skipped is None:
                raise item.error
            else:
                skipped.append(item.error)

    readable = good()
    while batch := list(islice(readable, size)):
        yield batch


def _ahead(function: Callable[[In], Out], items: Iterable[In], workers: int, depth: int) -> Iterator[Out]:
    """As `map`, in threads that are at most `depth` items ahead; in order."""
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
