"""Images with a mask each."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.images import EXTENSIONS, read_image
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.objects import file_inside, without_copies
from visiontasks.data.masks import MaskEncoding
from visiontasks.data.splits import MissingSplit, Splits

Pair = tuple[Path, Path]


class MaskFolder(VisionDataset):
    """Images in one folder and masks in another, each mask named as its image but for the extension.

    Where `lists` is given, its lines say what belongs to a split; where `{split}` stands in `images`, the folders of
    that name do; otherwise the images in string order are divided by `splits`, and a training image that is byte for
    byte one of those held out is left out.

    Args:
        split: train, val or test.
        root: The folder of both.
        class_names: Of the pixels, in the order of their indices.
        images: Folder of the images, from `root`; `{split}` in it stands for the split.
        masks: Folder of the masks, in the same way.
        lists: File with a line an image, from `root`; `{split}` as above. A line is the path of an image and of its
            mask, from `root`, or the name of both without folder and extension.
        values: If given, the pixel value of each class; by default its index. See `MaskEncoding`.
        colors: If given, the color of each class, RGB.
        ignore: Values, or colors, of pixels that do not count; 255 is one if no class has it.
        splits: How a folder without lists is divided.

    Raises:
        MissingSplit: There is no such split.
        InputError: A folder, a list, or a partner is missing; the message names the first few.
    """

    def __init__(
        self,
        split: str,
        root: str,
        class_names: list[str],
        images: str = "images",
        masks: str = "masks",
        lists: str | None = None,
        values: list[int] | None = None,
        colors: list[list[int]] | None = None,
        ignore: list[int] | list[list[int]] = [],  # noqa: B006 - never changed, and jsonargparse shows it
        splits: Splits = Splits(),
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images and masks.")
        self.class_names, self.mask_names = [], class_names
        self._code = MaskEncoding(len(class_names), values, colors, ignore)
        folders = [self.root / text.replace("{split}", split) for text in (images, masks)]
        by_folder = "{split}" in images
        if (lists or by_folder) and split == "train" and splits != Splits():
            rank_zero_info(f"{lists or images} has the splits, so {splits} is not used.")
        if lists:
            self._pairs = self._listed(self.root / lists.replace("{split}", split), *folders)
        elif by_folder and split != "train" and not folders[0].is_dir():
            raise MissingSplit(f"{folders[0]}: no such folder.")
        else:
            pairs = _pairs(*folders)
            chosen = list(range(len(pairs))) if by_folder else splits.indices(split, [0] * len(pairs)).tolist()
            if split == "train":
                chosen = without_copies([image for image, _ in pairs], chosen)
            self._pairs = [pairs[i] for i in chosen]

    def __len__(self) -> int:
        return len(self._pairs)

    def image(self, index: int) -> np.ndarray:
        return read_image(self._pairs[index][0])

    def mask(self, index: int) -> np.ndarray:
        return self._code.read(self._pairs[index][1])

    def target(self, index: int) -> dict[str, Any]:
        return {}

    def name(self, index: int) -> str:
        return self._pairs[index][0].relative_to(self.root).as_posix()

    def _listed(self, path: Path, images: Path, masks: Path) -> list[Pair]:
        if not path.is_file():
            raise MissingSplit(f"{path}: no such list.")
        lines = [(f"{path}, line {n}", line.split()) for n, line in enumerate(path.read_text("utf-8").splitlines(), 1)]
        by_name: dict[str, Pair] = {}
        if any(len(names) == 1 for _, names in lines):
            both = _files(images), _files(masks)
            by_name = {name: (both[0][name], both[1][name]) for name in both[0].keys() & both[1].keys()}
        pairs = []
        for where, names in lines:
            if len(names) == 2:
                image, mask = (file_inside(self.root, name, where) for name in names)
                pairs.append((image, mask))
            elif len(names) == 1 and names[0] in by_name:
                pairs.append(by_name[names[0]])
            elif len(names) == 1:
                raise InputError(f"{where}: no image {names[0]}.* in {images} with a mask in {masks}.")
            elif names:
                raise InputError(f"{where}: expected an image and its mask, or one name; found {' '.join(names)!r}.")
        if not pairs:
            raise MissingSplit(f"{path}: the list is empty.")
        return pairs


def _pairs(images: Path, masks: Path) -> list[Pair]:
    """The pairs in string order of the images; a file without a partner is an error."""
    first, second = _files(images), _files(masks)
    for lonely, text in (
        (sorted(first.keys() - second.keys()), f"{images}: {{}} of {len(first)} images have no mask in {masks}"),
        (sorted(second.keys() - first.keys()), f"{masks}: {{}} of {len(second)} masks have no image in {images}"),
    ):
        if lonely:
            few = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
            raise InputError(f"{text.format(len(lonely))}: {few}. Add them, or name those to be used in `lists`.")
    return [(first[name], second[name]) for name in sorted(first)]


def _files(folder: Path) -> dict[str, Path]:
    """The images below a folder by their path from it without extension."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Set `images` and `masks` to the folders of both, from `root`.")
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith(".") or path.is_dir():
            continue
        if name in found:
            raise InputError(f"{path}: {found[name].name} has the same name but for the extension. Rename one.")
        found[name] = path
    if not found:
        raise InputError(f"{folder}: no images ({', '.join(EXTENSIONS)}) in this folder.")
    return found
