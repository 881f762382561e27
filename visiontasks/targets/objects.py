"""`objects`: any number of objects per image, each with a class, a box and perhaps a mask."""

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.geometry import Frame, box_iou, corners, height_width
from visiontasks.core.objects import Objects, area, make_objects, pair_objects, seen, take, tightened
from visiontasks.core.resize import resize_mask
from visiontasks.core.sample import Sample
from visiontasks.targets.base import Difference, Known, Target
from visiontasks.targets.bbox import CORNERS
from visiontasks.targets.candidates import best_candidates, merge_candidates
from visiontasks.targets.coco import AREAS, MOST, average_precision, confusion, match, ranked
from visiontasks.targets.label import SCORES, mean_of_known

STRIDE = 4  # of the masks in a batch and of an output
SAME_BOX = 0.99  # IoU of a box of an exported model with that of its checkpoint
PIXELS = 8  # of an object whose mask may differ: those in which it has about equal logits
GUESSED = 1000  # the baseline chooses from this number of training objects at most


class ObjectsTarget(Target):
    """Any number of objects per image: `Objects`, in pixels; in a batch float32 (B, M, 6 or more).

    A row of a batch has xmin, ymin, xmax and ymax in 0..1 of the picture, the class, and 1 for a crowd or else 0;
    where the set has masks, also the covered share of each cell of 4 x 4 pixels, row by row. Rows with class -1 fill
    the batch up. A picture without annotation is one crowd of any class.

    Output: float32 (1 + L, 4 + classes), a row per candidate: its box, xyxy in 0..1 of the picture, and the probability
    of each class. With masks the columns after them are the logits of each cell. The first row has the rows and columns
    of the cells (0 without masks), 1 if views are fused to objects or else 0, a zero, and the threshold of each class.
    """

    key, monitor, additive = "objects", "map", False
    occurrence, decides = "counts", True
    columns = ("label", "score", *CORNERS)
    details = ("map75", *(f"map_{name}" for name in AREAS if name), "mar")

    def to_augment(self, value: Any) -> dict[str, Any]:
        count = len(value["labels"])
        rows = np.column_stack([value["boxes"], np.arange(count), value.get("visible", np.ones(count))])
        masks = {"masks": list(value["masks"].astype(np.uint8))} if len(value.get("masks", ())) else {}
        return {"bboxes": rows.astype(np.float32), **masks}

    def from_augment(self, value: Any, moved: dict[str, Any]) -> Objects:
        rows = np.asarray(moved["bboxes"], np.float32).reshape(-1, 6)
        places = rows[:, 4].round().astype(int)
        kept = take({key: value[key] for key in ("labels", "crowd")}, places)
        kept |= {"boxes": rows[:, :4], "visible": rows[:, 5]}
        if "masks" in value:
            masks = [moved["masks"][place] == 1 for place in places]
            kept["masks"] = np.array(masks, bool).reshape(-1, *moved["image"].shape[:2])
            kept["boxes"] = tightened(kept["boxes"], kept["masks"])
        return seen(kept)

    def resize(self, value: Any, frame: Frame) -> Objects:
        new = frame.placement
        boxes = frame.to_picture(value["boxes"])
        whole = area(value["boxes"]) * (new.height / frame.height) * (new.width / frame.width)
        share = area(boxes) / np.maximum(whole, np.finfo(np.float32).tiny)  # `resize: crop` cuts objects away
        moved = {**value, "boxes": boxes, "visible": value.get("visible", 1) * share}
        if "masks" in value:
            masks = [resize_mask(mask.astype(np.uint8), frame) == 1 for mask in value["masks"]]
            moved["masks"] = np.array(masks, bool).reshape(-1, *height_width(frame.size))
        left = seen(moved, least=0.0)
        return {key: part for key, part in left.items() if key != "visible"}

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> Objects:
        return make_objects([[0, 0, size[1], size[0]]], [-1], [True])

    def collate(self, values: Sequence[Any], size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        values = [self.missing(size, names) if value is None else value for value in values]
        cells = -(-size[0] // STRIDE) * -(-size[1] // STRIDE) if any("masks" in value for value in values) else 0
        batch = np.zeros((len(values), max(1, *(len(v["labels"]) for v in values)), 6 + cells), np.float32)
        batch[..., 4] = -1
        for rows, value in zip(batch, values, strict=True):
            count = len(value["labels"])
            rows[:count, :6] = np.column_stack([value["boxes"] / corners(size), value["labels"], value["crowd"]])
            for row, mask in zip(rows, value.get("masks", ()), strict=False):  # the other rows fill the batch up
                row[6:] = _coarse(mask, size).ravel()
        return batch

    def merge(self, outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Fuses the objects of all views; each is a candidate of one class then. The thresholds stay."""
        return merge_candidates(outputs, flips) if len(outputs) > 1 else outputs[0]

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `objects`, at most 100 with a score above 0.01, the best first, with `scores`, boxes in pixels of the
        image, and whether each is `taken`: its score reaches the threshold of its class."""
        found = best_candidates(output)
        found["boxes"] = frame.to_image(found["boxes"] * corners(frame.size))
        if (logits := found.pop("logits", None)) is not None:
            masks = [_restored(part, box, frame) for part, box in zip(logits, found["boxes"], strict=True)]
            found["masks"] = np.array(masks, bool).reshape(-1, frame.height, frame.width)
        return {"objects": {**found, "taken": found["scores"] >= output[0, 4:][found["labels"]]}}

    def at_threshold(self, outputs: np.ndarray, threshold: float) -> np.ndarray:
        outputs = outputs.copy()
        outputs[:, 0, 4:] = threshold
        return outputs

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        """Returns a row per taken object, the best first: class, score, and the box in pixels of the image."""
        found = take(prediction["objects"], prediction["objects"]["taken"])
        parts = zip(found["labels"], found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        cells = ((names[label], round(score, 6), *(round(end, 2) for end in box)) for label, score, box in parts)
        return [dict(zip(self.columns, one, strict=True)) for one in cells]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        objects = sample["objects"]
        shown = take(objects, objects["taken"] if "taken" in objects else ~objects["crowd"])
        for place in reversed(range(len(shown["labels"]))):  # the best one on top
            label = int(shown["labels"][place])
            score, mask = (shown[key][place] if key in shown else None for key in ("scores", "masks"))
            canvas.object(shown["boxes"][place], label, names[label], score, mask)

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Counts the images with each class, `counts`, int64 (classes,), and all `images`, (1,); and lists the `boxes`
        and classes of all objects, float32 (N, 5), in 0..1 of the picture without augmentation."""
        counts, images, rows = np.zeros(len(names), np.int64), 0, [np.empty((0, 5), np.float32)]
        for value, frame, _ in values:
            real, images = take(value, ~value["crowd"]), images + 1
            counts[np.unique(real["labels"])] += 1
            if len(real["labels"]):
                size = frame()
                rows.append(np.column_stack([size.to_picture(real["boxes"]) / corners(size.size), real["labels"]]))
        return {"counts": counts, "images": np.array([images]), "boxes": np.concatenate(rows).astype(np.float32)}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the output of the boxes that find most training objects without an image: of each class the training
        box that overlaps with most objects (IoU above 0.5) not found yet, again and again. Its score is their share."""
        boxes, classes = summary["boxes"][:, :4], len(summary["counts"])
        found = np.zeros((1 + MOST, 4 + classes), np.float32)
        found[0, 4:] = 0.5
        guesses = []
        for label in range(classes):
            own = boxes[summary["boxes"][:, 4] == label]
            own = own[np.linspace(0, len(own) - 1, min(len(own), GUESSED)).astype(int)] if len(own) else own
            near = box_iou(own[:, None], own[None]) > 0.5
            share = summary["counts"][label] / max(1, len(own)) / max(1, int(summary["images"][0]))
            while near.any() and len(guesses) < MOST * classes:
                best = int(near.sum(1).argmax())
                guesses.append((float(near[best].sum() * share), label, own[best]))
                near[:, near[best]] = False
        for row, (score, label, box) in zip(found[1:], sorted(guesses, key=lambda guess: -guess[0]), strict=False):
            row[:4], row[4 + label] = box, min(score, 1.0)
        return found

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Lists the predicted objects and counts the true ones; see `match`."""
        found = prediction["objects"]
        if "objects" not in truth:
            found, truth = take(found, slice(0)), {"objects": make_objects([], [])}
        return match(truth["objects"], found, len(names), found["taken"])

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Computes COCO's average precision over IoUs from 0.5 to 0.95, at 0.5 and 0.75, by the area of the objects,
        and its average recall; and precision, recall and F1 of the objects above the thresholds, at an IoU of 0.5."""
        draws = np.ones((1, len(counts))) if times is None else times.astype(float)
        ap: dict[str, list[np.ndarray]] = {name: [] for name in AREAS}
        recalls, sums = [], []
        for found in ranked(counts):
            for place, name in enumerate(AREAS):
                values, reached = average_precision(found, place, draws)
                ap[name].append(values)
                recalls += [reached.mean(1)] if not place else []
            decided = found.taken & ~found.ignored[:, 0, 0]
            right, weights = found.right[:, 0, 0] & found.taken, draws[:, found.image]
            sums.append([weights @ right.astype(float), weights @ decided.astype(float), draws @ found.true[:, 0]])
        right, taken, true = np.moveaxis(np.array(sums), 0, -1)
        every = np.stack(ap[""], 1)  # (draws, classes, IoUs)
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = {
                "map": mean_of_known(every.mean(2)),
                "map50": mean_of_known(every[..., 0]),
                "map75": mean_of_known(every[..., 5]),
                **{f"map_{name}": mean_of_known(np.stack(ap[name], 1).mean(2)) for name in list(AREAS)[1:]},
                "mar": mean_of_known(np.stack(recalls, 1)),
                "precision": right.sum(1) / taken.sum(1),
                "recall": right.sum(1) / true.sum(1),
                "f1": 2 * right.sum(1) / (taken + true).sum(1),
                "class/ap": every.mean(2),
                "class/ap50": every[..., 0],
                "class/precision": right / taken,
                "class/recall": right / true,
            }
        return figures if times is not None else {name: values[0] for name, values in figures.items()}

    def matrices(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the `confusion` of the objects above the thresholds; the last class is the background."""
        return {"confusion": confusion(counts)}

    def sizes(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        true = counts[:, MOST:, : len(AREAS)] > 0  # (N, classes, areas)
        taken = (counts[:, :MOST, 4:5] > 0) & (counts[:, :MOST, :1] == np.arange(true.shape[1]))
        occurs, decided = true[..., 0], taken.any(1)
        by_area = {f"map_{name}": true[..., place].any(1) for place, name in enumerate(AREAS) if name}
        whole = dict.fromkeys(("map", "map50", "map75", "mar", "recall", "f1"), occurs.any(1)) | by_area
        each = dict.fromkeys(("class/ap", "class/ap50", "class/recall"), occurs)
        found = whole | each | {"precision": decided.any(1), "class/precision": decided}
        return {name: part.sum(0) for name, part in found.items()}

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        """Matches the objects that are decisions in either prediction one to one, by class, box and score."""
        first, second = expected["objects"], found["objects"]
        pairs, far = pair_objects(first, second, SAME_BOX, SCORES)
        alone = int(first["taken"].sum() + second["taken"].sum())
        alone -= sum(int(first["taken"][one]) + int(second["taken"][other]) for one, other in pairs)
        worst = max((float(far[pair]) for pair in pairs), default=0.0)
        differences = [Difference("objects", float(alone), 0), Difference("score of an object", worst, SCORES)]
        if "masks" in first:
            apart = [
                (first["masks"][one] ^ second["masks"][other]).sum() for one, other in pairs if first["taken"][one]
            ]
            differences.append(Difference("pixels of the mask of an object", float(max(apart, default=0)), PIXELS))
        return differences


def _restored(logits: np.ndarray, box: np.ndarray, frame: Frame) -> np.ndarray:
    """Returns the pixels of an object, bool (H, W), from the logits of its cells and its box in pixels of the image."""
    new, (height, width) = frame.placement, height_width(frame.size)
    rows, columns = logits.shape
    whole = cv2.resize(logits, (columns * STRIDE, rows * STRIDE))[:height, :width]
    part = whole[max(0, new.top) :, max(0, new.left) :][: new.height, : new.width]
    mask = np.zeros((frame.height, frame.width), bool)
    (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    mask[top:bottom, left:right] = cv2.resize(part, (frame.width, frame.height))[top:bottom, left:right] > 0
    return mask


def _coarse(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the covered share of each cell of a mask, float32 (h, w)."""
    height, width = (-(-side // STRIDE) for side in size)
    padded = np.pad(mask, ((0, height * STRIDE - size[0]), (0, width * STRIDE - size[1])))
    return cv2.resize(padded.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
