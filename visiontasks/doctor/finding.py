"""What a check finds."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


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
