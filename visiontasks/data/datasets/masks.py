"""Images with one mask each."""

from collections.abc import Callable
from functools import cache
from os.path import isfile
from pathlib import Path

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import is_collecting, refuse, usable
from visiontasks.data.datasets.base import FileSet, check_class_names
from visiontasks.data.datasets.copies import divide
from visiontasks.data.datasets.patterns import Pair, Pattern, all_pairs, pairs_by_stem
from visiontasks.data.datasets.records import file_inside
from visiontasks.data.masks import MaskEncoding, MaskThreshold
from visiontasks.data.splits import SPLITS, Splits, SplitsLike, find_part, read_lists, split_path


class MaskFolder(FileSet):
    """Images in one folder and masks of the same names, except the extension, in another.

    Other names are described by `{stem}`, the part of the path that an image and its mask have in common, with folders
    if there are any: `masks: "{stem}_mask.png"`. Images and masks may be in one folder, `images: .`: a file that fits
    `masks` is a mask. A file without a partner is an error; the log counts images that are neither.

    `{split}` in `lists`, or else in `images`, defines the splits; without files for val, `splits` divides train.
    Otherwise all images, in the order of the list or of their stems, are divided by `splits`. If it divides, training
    images that are byte for byte the same file as an image of another split are left out.

    Args:
        split: train, val or test.
        root: Folder that holds images and masks.
        class_names: Names of the classes of the pixels, in order.
        images: Folder of the images, relative to `root`, or their paths with `{stem}`, such as `photos/{stem}.jpg`; the
            extension `.*` is any. `{split}` stands for the split.
        masks: Folder or paths of the masks, in the same way.
        lists: File with one line per image; `{split}` stands for the split. A line has the paths of an image and its
            mask, relative to `root` and divided by a space, a tab or a semicolon, or the stem of both.
        values: If given, the pixel value of each class; by default its index. See `MaskEncoding`.
        colors: If given, the color of each class, RGB.
        ignore: Values, or colors, of ignored pixels; 255 is ignored if no class has it.
        splits: How images without splits, or train without val, are divided.
        threshold: Value from which on a pixel is of the second of two classes, for masks with blurred edges and JPEG
            files; see `MaskThreshold`.
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
        splits: SplitsLike = Splits(),
        threshold: int | None = None,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images and masks.")
        check_class_names(class_names, "class_names", fewest=1)
        self.class_names, self.mask_names = [], class_names
        if threshold is not None and (values or colors or ignore):
            raise InputError("threshold: it excludes values, colors and ignore. Remove them.")
        encoding = MaskEncoding(len(class_names), values, colors, ignore)
        self._code = encoding if threshold is None else MaskThreshold(len(class_names), threshold)
        there = [name for name in SPLITS if "{split}" in (lists or images) and self._exists(name, images, lists)]
        part, divider = find_part(split, splits, there, lists or images)
        patterns = [Pattern.of(self.root, text, part) for text in (images, masks)]
        pairs = self._listed(read_lists(str(self.root / lists), part), *patterns) if lists else all_pairs(*patterns)
        if divider:
            files = [image for image, _ in pairs]
            pairs = [pairs[i] for i in divide(split, divider, files, [0] * len(files))]
        self.paths, self.mask_paths = zip(*pairs, strict=True)

    def _exists(self, split: str, images: str, lists: str | None) -> bool:
        if lists:
            return split_path(str(self.root / lists), split).is_file()
        return Pattern.of(self.root, images, split).exists()

    def mask(self, index: int) -> np.ndarray | None:
        return self._code.read(self.mask_paths[index], self.page)

    def _listed(self, lines: list[tuple[str, str]], images: Pattern, masks: Pattern) -> list[Pair]:
        by_name = cache(lambda: pairs_by_stem(images, masks))
        chosen: dict[Path, tuple[str, Pair]] = {}
        for where, line in lines:
            pair = usable("partner", line, self._pair, line, where, images, masks, by_name)
            if pair is None or (is_collecting() and not all(map(isfile, pair))):
                continue
            if (before := chosen.setdefault(pair[0], (where, pair)))[0] != where:
                error = InputError(f"{where}: {pair[0]} is already in {before[0]}. Remove one of them.")
                refuse("twice", pair[0], error)
        return [pair for _, pair in chosen.values()]

    def _pair(
        self, line: str, where: str, images: Pattern, masks: Pattern, by_name: Callable[[], dict[str, Pair]]
    ) -> Pair:
        """Returns the image and the mask of a line, by their paths or their name."""
        if pair := self._two_paths(line, where) or by_name().get(line):
            return pair
        if len(words := line.split()) == 2:  # it looks like two paths
            return file_inside(self.root, words[0], where), file_inside(self.root, words[1], where)
        fault = f"no image {line}.* in {images.folder} with a mask in {masks.folder}"
        raise InputError(f"{where}: {fault}. Expected that name, or the paths of an image and its mask.")

    def _two_paths(self, line: str, where: str) -> Pair | None:
        """Returns the image and the mask of a line with two paths, which may contain spaces."""
        if divider := next((sign for sign in "\t;" if sign in line), ""):
            names = [name.strip() for name in line.split(divider) if name.strip()]
            if len(names) != 2:
                raise InputError(f"{where}: expected an image and its mask, or one name; found {line!r}.")
            return file_inside(self.root, names[0], where), file_inside(self.root, names[1], where)
        words = line.split(" ")
        for count in range(1, len(words)):
            names = " ".join(words[:count]), " ".join(words[count:]).strip()
            if all(isfile(self.root / name) or isfile(self.root / name.replace("\\", "/")) for name in names):
                return file_inside(self.root, names[0], where), file_inside(self.root, names[1], where)
        return None
