"""Arguments of the commands that do not train; nothing heavy is imported here, so `--help` is quick."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def at_least(minimum: int) -> Callable[[str], int]:
    """The type of whole numbers from a minimum on."""

    def integer(text: str) -> int:
        if (number := int(text)) < minimum:
            raise argparse.ArgumentTypeError(f"{number} must be {minimum} or more.")
        return number

    return integer


COMMON: dict[str, dict[str, Any]] = {
    "--batch_size": {"type": at_least(1), "default": 32, "help": "images at a time (default: 32)"},
    "--device": {"default": "auto", "help": "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"},
    "--imports": {
        "action": "append",
        "default": [],
        "metavar": "MODULE",
        "help": "your own module whose classes a model or config may name; may be repeated",
    },
    "--trust": {"action": "store_true", "help": "open a .pt2 file, which can run code"},
    "--tile": {"type": int, "help": "predict masks at each image's own resolution, in tiles of N pixels"},
    "--tta": {"nargs": "+", "default": [], "metavar": "VIEW"},
}
CONFIG_BESIDE = "config of the data (default: config.yaml beside the model, of which nothing but the data is read)"
CHANGES_DATA = "All other arguments change the config's data, such as --data.dataset.root PATH."
CHANGES_CONFIG = "All other arguments change the config, such as --data.image_size 64, --trainer.default_root_dir DIR."


class Arguments(argparse.ArgumentParser):
    """Parses the arguments of one command; those after `epilog` are left to the config."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def add_common(self, *names: str, **changes: Any) -> None:
        """Adds flags that several commands have."""
        for name in names:
            self.add_argument(name, **COMMON[name], **changes)


def parse(command: str, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the arguments of a command; those that change a config are returned as they are.

    Raises:
        SystemExit: An argument is wrong, or help was asked for.
    """
    add, description, epilog = COMMANDS[command]
    parser = Arguments(prog=f"visiontasks {command}", description=description, epilog=epilog)
    add(parser)
    options, more = parser.parse_known_args(args)
    if more and epilog is None:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return options, more


def _predict(parser: Arguments) -> None:
    parser.add_argument(
        "model", help="best.ckpt or last.ckpt of a run, an exported file, or timm's name of a pretrained network"
    )
    parser.add_argument(
        "source",
        nargs="+",
        help="images, folders with images at any depth, patterns, lists of paths (.txt), videos; - reads paths from "
        "standard input",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for predictions.csv ...; made if need be")
    parser.add_argument(
        "--pretrained", help="weights of a network that is given by name: true (default, timm's hub), bundled or a path"
    )
    parser.add_argument("--probabilities", action="store_true", help="write the probability of every class too")
    parser.add_argument("--overlays", action="store_true", help="draw each prediction on its image, in overlays/")
    parser.add_argument("--num_workers", type=at_least(0), default=1, help="threads that read ahead (default: 1)")
    parser.add_argument("--every", type=at_least(1), default=1, help="of a video, each n-th frame (default: 1)")
    parser.add_argument("--skip_errors", action="store_true", help="leave out what cannot be read, and list it")
    parser.add_common("--tta", help="average over views: hflip, vflip, scales such as 1.25")
    parser.add_common("--batch_size", "--tile", "--imports", "--trust", "--device")


def _evaluate(parser: Arguments) -> None:
    parser.add_argument("model", nargs="+", help="a checkpoint or an exported file, or two")
    parser.add_argument("-c", "--config", type=Path, help=CONFIG_BESIDE)
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test, else val)")
    parser.add_argument("--output", type=Path, help="folder for the tables (default: evaluation/ beside the model)")
    parser.add_argument("--draws", type=at_least(1), default=2000, help="of the bootstrap over images (default: 2000)")
    parser.add_common("--tta", help="hflip, vflip, scales; one model: beside plain")
    parser.add_common("--batch_size", "--tile", "--imports", "--trust", "--device")


def _export(parser: Arguments) -> None:
    parser.add_argument("checkpoint", help="best.ckpt or last.ckpt of a run")
    parser.add_argument(
        "--format", choices=("onnx", "pt2"), default="onnx", help="pt2 is torch.export's (default: onnx)"
    )
    parser.add_argument("--output", type=Path, help="the file (default: beside the checkpoint, with its name)")
    parser.add_argument("--resize", action="store_true", help="the file takes images of any size and resizes itself")
    parser.add_argument(
        "--int8", action="store_true", help="weights and activations of 8 bits, smaller and perhaps faster"
    )
    parser.add_argument(
        "--max_drop",
        type=float,
        help="what --resize (default: 0.2) and --int8 (2) may cost in accuracy, IoU, in hundredths",
    )
    parser.add_argument("-c", "--config", type=Path, help=CONFIG_BESIDE)
    parser.add_argument("--samples", nargs="+", help="images, folders ... to compare on, in place of the config's")
    parser.add_argument(
        "--images",
        type=at_least(0),
        default=256,
        help="compare on so many of the validation set; 0: all (default: 256)",
    )
    parser.add_common("--imports")


def _detect(parser: Arguments) -> None:
    parser.add_argument("checkpoint", help="best.ckpt or last.ckpt of a run")
    parser.add_argument("source", nargs="+", help="image files, or folders with images at any depth")
    parser.add_argument("--output", required=True, type=Path, help="folder for detections.csv and overlays/")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=(0.6, 0.85, 1.2, 1.7),
        help="factors on each image's size (default: 0.6 0.85 1.2 1.7)",
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="least probability of a box (default: 0.5)")
    parser.add_argument("--iou", type=float, default=0.4, help="overlap above which a box is a double (default: 0.4)")
    parser.add_common("--imports", "--device")


def _study(parser: Arguments) -> None:
    parser.add_argument("study", type=Path, help="a study's file, such as configs/studies/cifar10.yaml")
    parser.add_argument("--output", type=Path, help="folder of its runs (default: runs/NAME OF THE FILE)")


def _inspect(parser: Arguments) -> None:
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def part(name: str, text: str, images: bool = False) -> Arguments:
        new: Arguments = parts.add_parser(name, help=text, description=text, epilog=parser.epilog)
        new.set_defaults(images=images)
        new.add_argument("model", type=Path, help="a checkpoint, or a config (.yaml)")
        if images:
            new.add_argument("source", nargs="*", help="images or folders (default: the validation set of the config)")
            new.add_argument("--count", type=int, default=8, help="so many of the validation set (default: 8)")
        new.add_argument("--ckpt_path", type=Path, help="the trained weights for a config")
        new.add_common("--imports")
        return new

    part("layers", "Output, weights, multiplications, memory and receptive field of each layer.")
    new = part("features", "The feature maps of a layer for each image.", images=True)
    new.add_argument("--layer", help="its name, or the end of it (default: the first convolution)")
    new = part("filters", "The filters of a convolution.")
    new.add_argument("--layer", help="its name, or the end of it (default: the first convolution)")
    new = part("maximize", "The image that a class, or a unit of a layer, answers most.")
    new.add_argument("--class", dest="classes", action="append", default=[], help="a class (default: the first 16)")
    new.add_argument("--layer", help="a layer, in place of the classes")
    new.add_argument("--unit", type=int, action="append", help="a unit of it (default: the first 16)")
    new.add_argument("--softmax", action="store_true", help="of a class the probability, not the logit")
    new.add_argument("--steps", type=int, default=200, help="(default: 200)")
    new.add_argument("--rate", type=float, default=0.1, help="root mean square of a step (default: 0.1)")
    new.add_argument("--decay", type=float, default=0.01, help="share of the image lost in a step (default: 0.01)")
    new.add_argument("--blur", type=float, default=1.0, help="standard deviation in pixels (default: 1)")
    new.add_argument("--clip", type=float, default=0.1, help="share of small pixels set to zero (default: 0.1)")
    new.add_argument("--jitter", type=int, default=8, help="moves by at most so many pixels (default: 8)")
    new = part("attack", "Images changed a little, and no longer recognized.", images=True)
    new.add_argument("--radius", type=int, default=8, help="levels of 255 that a value may move (default: 8)")
    new.add_argument("--method", choices=("fgsm", "pgd"), default="pgd", help="(default: pgd)")
    new.add_argument("--steps", type=int, default=10, help="of pgd (default: 10)")
    new = part("explain", "Where in the image an answer comes from.", images=True)
    new.add_argument("--method", choices=("gradcam", "occlusion"), default="gradcam", help="(default: gradcam)")
    new.add_argument("--key", help="key of the head, such as mask (default: the first)")
    new.add_argument("--class", dest="classes", action="append", default=[], help="a class (default: the predicted)")
    new.add_argument("--window", type=int, help="side of the occluding window in pixels")


COMMANDS: dict[str, tuple[Callable[[Arguments], None], str, str | None]] = {
    "predict": (_predict, "Predict images with a trained model.", None),
    "evaluate": (
        _evaluate,
        "Figures of a model on a split, with intervals; of two, their difference.",
        CHANGES_DATA,
    ),
    "export": (_export, "Write a checkpoint as one file that runs elsewhere, if it answers alike.", CHANGES_DATA),
    "detect": (_detect, "Find all objects of images with a model trained on Windows.", None),
    "study": (_study, "Train configs in turn, compare them.", "All other arguments are those of fit, for every run."),
    "inspect": (_inspect, "Look inside a network.", CHANGES_CONFIG),
}
