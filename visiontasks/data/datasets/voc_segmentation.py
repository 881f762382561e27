"""Pascal VOC's segmentation."""

from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.masks import MaskFolder
from visiontasks.data.datasets.torchvision_sets import opening

# in the order of their pixel values; 255 is the border of the objects
NAMES = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip


class VOCSegmentation(MaskFolder):
    """Pascal VOC's segmentation (Everingham et al., IJCV 2010): 20 classes and background; borders are ignored.

    train and val are the published lists; there is none of test.

    Args:
        split: train, val or test.
        root: Folder that holds `VOCdevkit`, as torchvision's class of the same name wants it.
        year: 2007 to 2012.
        download: Fetch the year if it is missing.

    Raises:
        MissingSplit: There is no such list.
        InputError: The files are not there.
    """

    def __init__(self, split: str, root: str, year: int = 2012, download: bool = False) -> None:
        above = "TrainVal" if year == 2011 else "."  # as that year's archive has it
        folder = Path(root, above, "VOCdevkit", f"VOC{year}")
        if download:
            from torchvision import datasets  # pulls in seconds of imports: only for who uses it

            with opening("VOCSegmentation", root, download):
                if not folder.is_dir():  # torchvision would unpack it again
                    datasets.VOCSegmentation(root, year=str(year), download=True)
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder. Give the one that holds VOCdevkit as `root`, or set `download: true`."
            )
        super().__init__(
            split,
            str(folder),
            NAMES,
            images="JPEGImages",
            masks="SegmentationClass",
            lists="ImageSets/Segmentation/{split}.txt",
        )
