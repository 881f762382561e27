"""What a check finds."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
CHECK_NAMES = (
    *("unusable", "class_names", "reading", "left_out"),
    *("unreadable", "blank", "gray_end", "exif_turn", "deep", "suffix", "cmyk", "alpha", "pages", "gray"),
    *("leaked_duplicates", "leaked_near_duplicates", "duplicates", "near_duplicates", "contradictions"),
    *("leaked_groups", "leaked_frames", "missing_classes", "rare_classes", "unknown_classes"),
    *("constant_values", "far_values", "missing_values", "other_unit"),
    *("mask_values", "mask_size", "empty_masks", "whole_masks", "ignored_masks", "swapped_masks", "partners"),
    *("boxes_outside", "tiny_boxes", "small_objects", "whole_boxes", "double_boxes", "no_objects"),
    *("annotations", "other_size", "listed_twice", "extreme_aspect", "tiny_images", "stretched", "enlarged"),
    *("label_errors", "labels_errors", "bbox_errors", "objects_errors", "mask_errors"),
)


class Place(NamedTuple):
    """An image of a set, and what is wrong with it.

    Attributes:
        split: Its split.
        index: Its place in the split.
        name: Its name, as `VisionDataset.name` gives it.
        note: What is wrong with this image, in a few words; may be empty.
    """

    split: str
    index: int
    name: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of fault of a set.

    Attributes:
        check: Key of the check, such as `near_duplicates`; the same in every release.
        severity: An `error` stops a training or makes its figures wrong, a `warning` probably costs quality, and a
            `note` is worth knowing.
        message: What was found, as one sentence with its dot.
        fix: What to do about it, as sentences; config lines are in backquotes.
        places: The images that show it, the clearest first.
    """

    check: str
    severity: Severity
    message: str
    fix: str
    places: list[Place] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values."""
        return {**asdict(self), "places": [place._asdict() for place in self.places]}
