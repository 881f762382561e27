"""A model that answers the requests of the page, one after the other."""

import json
import sys
import time
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, height_width
from visiontasks.core.images import decode_image, reading, shown
from visiontasks.core.page import picture, render
from visiontasks.core.resize import to_picture
from visiontasks.demo.heat import placed
from visiontasks.demo.reduced import predict_reduced
from visiontasks.demo.shown import shown_of
from visiontasks.predict.networks import Network
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets import names_of
from visiontasks.targets.sample import Outputs, record_of

SHOWN, SMALL, QUALITY = 1280, 240, 88  # longest sides of the shown picture and of an example; JPEG quality
TEMPLATE = Path(__file__).parent / "page.html"


class Demo:
    """Answers of a model about images that a person gives.

    Attributes:
        examples: Images that the page offers.
        lock: Held while an image is decoded and predicted, so that the memory of one is enough.

    Args:
        network: The trained network.
        threshold: See `Predictor`.
        examples: Images that the page offers; one that cannot be read is left out.
    """

    def __init__(self, network: Network, threshold: float | None = None, examples: Sequence[Source] = ()) -> None:
        self.predictor = Predictor(network, threshold)
        self.keys, self.spec, self.lock = network.keys, network.spec, Lock()
        task: Any = getattr(network, "task", None)
        self._task = None if task is None or task.backbone.top else task  # a network's own top leaves one place
        self.examples: list[Source] = []
        self._pictures: list[str] = []
        for source in examples:
            self._add(source)

    def _add(self, source: Source) -> None:
        try:
            self._pictures.append(picture(source.read(*reading(self.spec)), SMALL, QUALITY))
            self.examples.append(source)
        except InputError as error:
            print(f"an example is left out: {error}", file=sys.stderr)

    @cached_property
    def explained(self) -> dict[str, list[str]]:
        """The classes of each head that Grad-CAM can explain; empty for what is no checkpoint."""
        return {key: names_of(self.spec, key) for key in self.keys} if self._task else {}

    def page(self, title: str, most: int) -> str:
        """Returns the page.

        Args:
            title: The name of the model.
            most: Bytes that an uploaded file may have.
        """
        names = {key: value for key, value in self.spec.items() if key.endswith("_names")}
        pairs = zip(self._pictures, self.examples, strict=True)
        known = [{"picture": small, "name": name_of(source)} for small, source in pairs]
        data = {"names": names, "explained": self.explained, "most": most}
        return render(TEMPLATE, title=title, about=self.about(), data=data, examples=known)

    def about(self) -> str:
        """Returns a line that says what the model predicts."""
        height, width = height_width(self.spec["image_size"])
        heads = []
        for key in self.keys:
            names = names_of(self.spec, key)
            heads.append(f"{key} ({', '.join(names) if len(names) <= 12 else f'{len(names)} classes'})")
        return f"Predicts {', '.join(heads)} from pictures of {width} x {height} pixels."

    def warm_up(self) -> None:
        """Predicts a gray image, because the first prediction of a process is slow."""
        self.predictor.predict(np.full((*height_width(self.spec["image_size"]), 3), 128, np.uint8))

    def source(self, data: bytes, example: int | None) -> Source:
        """Returns the image that a request is about: the bytes of a file, or an example.

        Raises:
            InputError: There is none.
        """
        if example is not None:
            if not 0 <= example < len(self.examples):
                raise InputError(f"There is no example {example}; the page has {len(self.examples)}.")
            return self.examples[example]
        if not data:
            raise InputError("The request has no image. Send the bytes of an image file.")
        return Source("image", partial(decode_image, data, "image"))

    def predict(self, data: bytes, example: int | None = None) -> dict[str, Any]:
        """Predicts an image, given as for `source`.

        Returns:
            `record`, what `predict` writes as a JSON line; `shown`, the same for `showResult`; `picture`, the address
            of the image as the model read it, reduced; and the `seconds` from the bytes to the prediction.

        Raises:
            InputError: The image cannot be read; the message names no file of this machine.
        """
        source = self.source(data, example)
        with self.lock:
            start = time.perf_counter()
            image = self._read(source, example)
            size = shown_size(image)
            frame = Frame(*image.shape[:2], self.spec["image_size"], self.spec["resize"])
            sample = predict_reduced(self._outputs(image), frame, size, self.spec)
            seconds = time.perf_counter() - start
            answer = {
                "record": record_of(sample, self.spec),
                "shown": shown_of(sample, self.spec, size),
                "picture": picture(image, SHOWN, QUALITY),
                "seconds": round(seconds, 4),
            }
        return json.loads(json.dumps(answer), parse_constant=lambda name: None)  # JSON has no NaN

    def explain(
        self, data: bytes, example: int | None = None, key: str | None = None, target: int | None = None
    ) -> dict[str, Any]:
        """Explains a prediction by Grad-CAM.

        Args:
            data, example: See `source`.
            key: The head; by default the first.
            target: The class; by default the predicted one.

        Returns:
            `picture`, the address of the image with the places that support the class; `found`, whether there are any.

        Raises:
            InputError: The image cannot be read, there is no such head or class, or the model is no checkpoint.
        """
        source = self.source(data, example)
        if (task := self._task) is None:
            raise InputError("Grad-CAM needs a checkpoint that was trained here.")
        import torch  # not for an exported file

        from visiontasks.inspect.explain import draw_heat, explain

        with self.lock:
            image = self._read(source, example)
            seen = torch.from_numpy(to_picture(image, self.spec)).permute(2, 0, 1)[None]
            weights = explain(task, seen.to(task.device), key, target).cpu().numpy()
            height, width = shown_size(image)
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            found = bool(weights.any())
            drawn = draw_heat(small, placed(weights, (height, width), self.spec)) if found else small
            return {"picture": picture(drawn, SHOWN, QUALITY), "found": found}

    def _outputs(self, image: np.ndarray) -> Outputs:
        network = self.predictor.network
        seen = image if network.resizes else to_picture(image, self.spec)
        return {key: output[0] for key, output in network(np.stack([seen]).transpose(0, 3, 1, 2)).items()}

    def _read(self, source: Source, example: int | None) -> np.ndarray:
        try:
            return source.read(*reading(self.spec))
        except InputError:
            if example is None:
                raise
            raise InputError("This example can no longer be read. Its file was moved or changed.") from None


def name_of(source: Source) -> str:
    """Returns the name of an example without the folders of this machine."""
    return shown(source.name).rpartition("/")[2]


def shown_size(image: np.ndarray) -> tuple[int, int]:
    """Returns height and width of the picture that is shown of an image."""
    height, width = image.shape[:2]
    scale = min(1.0, SHOWN / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
