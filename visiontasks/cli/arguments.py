"""The arguments of the commands; nothing heavy is imported here, so that `--help` is quick."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from visiontasks.cli.commands import COMMANDS
from visiontasks.cli.configs import find_config
from visiontasks.cli.limits import at_least, between
from visiontasks.cli.words import check_names
from visiontasks.core.compat import option_names
from visiontasks.core.errors import InputError

COMMON: dict[str, dict[str, Any]] = {
    "--batch_size": {"type": at_least(1), "default": 32, "help": "number of images per batch (default: 32)"},
    "--device": {"default": "auto", "help": "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"},
    "--imports": {
        "action": "append",
        "default": [],
        "metavar": "MODULE",
        "help": "your own module whose classes a model or config may name; may be repeated",
    },
    "--trust": {"action": "store_true", "help": "open a .pt2 file, which can run code"},
    "--tile": {"type": int, "help": "predict masks or objects at the resolution of each image, in tiles of N pixels"},
    "--threshold": {
        "type": between(0, 1),
        "help": "lowest score of a predicted object or label (default: the thresholds of the model)",
    },
    "--tta": {"nargs": "+", "default": [], "metavar": "VIEW"},
}
LAYOUTS = ["published", "yolo", "coco", "voc", "labelme", "cvat", "via", "table", "masks", "folders", "names"]
CHECKPOINT = "the directory of a run, or best.ckpt or last.ckpt in it"
CONFIG_BESIDE = "config of the data (default: the data section of config.yaml in the folder of the model)"
CHANGES_DATA = "All other arguments change the data of the config, such as --data.dataset.root PATH."
CHANGES_CONFIG = "All other arguments change the config, such as --data.image_size 64, --trainer.default_root_dir DIR."


class Arguments(argparse.ArgumentParser):
    """Parser of the arguments of one command; with `epilog`, unknown arguments belong to the config."""

    def add_common(self, *names: str, **changes: Any) -> None:
        """Adds flags that several commands have."""
        for name in names:
            self.add_argument(name, **COMMON[name], **changes)

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("visiontasks ")
        raise InputError(f"{command}: {message.rstrip('.')}. `{self.prog} --help` lists the arguments.")


def parse(command: str, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the arguments of a command, and returns those that change a config as they are."""
    add, epilog = ARGUMENTS[command]
    description = COMMANDS[command].partition(":")[0]
    parser = Arguments(prog=f"visiontasks {command}", description=f"{description}.", epilog=epilog, allow_abbrev=False)
    add(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    check_names(command, args, option_names(parser))
    options, more = parser.parse_known_args(args)
    if more and epilog is None:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return options, more


def _predict(parser: Arguments) -> None:
    add = parser.add_argument
    add("model", help=f"{CHECKPOINT}, an exported file, or timm's name of a pretrained network")
    add("source", nargs="+", help="images, folders, patterns, lists of paths (.txt), videos; - reads paths from stdin")
    add("--output", required=True, type=Path, help="folder for predictions.csv ...; created if it is missing")
    add("--pretrained", help="weights of a network given by name: true (default, timm's hub), bundled or a path")
    add("--probabilities", action="store_true", help="also write the probability of every class")
    add("--overlays", action="store_true", help="draw each prediction on its image, in overlays/")
    add("--yolo", action="store_true", help="also write objects in the format of YOLO, in labels/")
    pixels = "also write masks in the format of COCO; this form is also that of objects with pixels (uncompressed_rle)"
    add("--coco", choices=("uncompressed_rle", "rle", "polygons"), help=pixels)
    values = "values of the pixels of each class in written masks, such as 0 255 (default: class indices)"
    add("--mask_values", type=at_least(0), nargs="+", metavar="VALUE", help=values)
    add("--keep_names", action="store_true", help="name masks exactly like their images, in the same folders")
    add("--num_workers", type=at_least(0), default=1, help="number of threads that read images (default: 1)")
    add("--every", type=at_least(1), default=1, help="use every n-th frame of a video (default: 1)")
    add("--skip_errors", action="store_true", help="skip what cannot be read, and list it")
    parser.add_common("--tta", help="average over views: hflip, vflip, scales such as 1.25")
    parser.add_common("--threshold", "--batch_size", "--tile", "--imports", "--trust", "--device")


def _demo(parser: Arguments) -> None:
    add = parser.add_argument
    add("model", help=f"{CHECKPOINT}, an exported file, or timm's name of a pretrained network")
    add("--samples", nargs="+", help="images, folders ... as examples (default: the validation set of its config)")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets other machines in (default: 127.0.0.1)")
    add("--port", type=at_least(0, 65_535), help="0 takes a free one (default: 8000, or a free one if that is taken)")
    add("--open", action="store_true", help="also open the page in a browser")
    add("--pretrained", help="weights of a network given by name: true (default, timm's hub), bundled or a path")
    parser.add_common("--threshold", "--imports", "--trust", "--device")


def _evaluate(parser: Arguments) -> None:
    add = parser.add_argument
    add("model", nargs="+", help="one or two run directories, checkpoints or exported files")
    add("-c", "--config", type=find_config, help=CONFIG_BESIDE)
    add("--split", choices=("val", "test"), default="test", help="(default: test, or val if there is no test split)")
    add("--output", type=Path, help="folder for the tables (default: evaluation/ in the folder of the model)")
    add("--draws", type=at_least(1), default=2000, help="number of bootstrap draws over images (default: 2000)")
    parser.add_common("--tta", help="hflip, vflip, scales; one model is compared with itself without views")
    parser.add_common("--threshold", "--batch_size", "--tile", "--imports", "--trust", "--device")


def _report(parser: Arguments) -> None:
    add = parser.add_argument
    add("model", nargs="+", help="run directories, checkpoints or exported files; the first is what others differ from")
    add("-c", "--config", type=find_config, help=CONFIG_BESIDE)
    add("--split", choices=("val", "test"), help="(default: test, or val if there is no test split)")
    add("--output", type=Path, help="path of the page (default: report.html or comparison.html beside the first model)")
    add("--draws", type=at_least(1), default=2000, help="number of bootstrap draws over images (default: 2000)")
    parser.add_common("--threshold", "--batch_size", "--tile", "--imports", "--trust", "--device")


def _export(parser: Arguments) -> None:
    add = parser.add_argument
    add("checkpoint", help=CHECKPOINT)
    add("--format", choices=("onnx", "pt2"), default="onnx", help="pt2 is for torch.export (default: onnx)")
    add("--output", type=Path, help="path of the file (default: path of the checkpoint with another suffix)")
    add("--resize", action="store_true", help="the file accepts images of any size and resizes them itself")
    add("--int8", action="store_true", help="8-bit weights and activations, smaller and possibly faster")
    add(
        "--html",
        action="store_true",
        help="write one HTML file that runs the model in a browser, with 8 bits if possible",
    )
    add(
        "--ort_web",
        type=Path,
        metavar="FILE",
        help="npm archive of onnxruntime-web for --html (default: npm fetches it)",
    )
    add("--max_drop", type=between(0), help="allowed loss of accuracy or IoU, in hundredths (default: 0.2; int8: 2)")
    add("-c", "--config", type=find_config, help=CONFIG_BESIDE)
    add("--samples", nargs="+", help="images, folders ... for the comparison, instead of the validation set")
    add("--images", type=at_least(0), default=256, help="number of validation images, 0 for all (default: 256)")
    parser.add_common("--imports")


def _detect(parser: Arguments) -> None:
    add = parser.add_argument
    add("checkpoint", help=CHECKPOINT)
    add("source", nargs="+", help="image files, or folders with images at any depth")
    add("--output", required=True, type=Path, help="folder for detections.csv and overlays/")
    add("--scales", type=float, nargs="+", help="factors of the image size (default: 0.6 0.85 1.2 1.7)")
    add("--threshold", type=between(0, 1), help="lowest score of a box (default: 0.5, or the thresholds of the model)")
    add("--iou", type=between(0, 1), help="overlap above which a box is a duplicate (default: 0.4)")
    parser.add_common("--imports", "--device")


def _study(parser: Arguments) -> None:
    parser.add_argument("study", type=find_config, help="file of the study, such as studies/cifar10.yaml")
    parser.add_argument("--output", type=Path, help="folder of its runs (default: runs/NAME OF THE FILE)")
    parser.add_argument("-v", "--verbose", action="store_true", help="also show what Lightning and W&B say")


def _inspect(parser: Arguments) -> None:
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def part(name: str, text: str, images: bool = False) -> Callable[..., argparse.Action]:
        options: dict[str, Any] = {"description": text, "epilog": parser.epilog, "allow_abbrev": False}
        new: Arguments = parts.add_parser(name, help=text, **options)
        new.set_defaults(images=images)
        new.add_argument("model", type=find_config, help="a run directory, a checkpoint, or a config (.yaml)")
        if images:
            new.add_argument("source", nargs="*", help="images or folders (default: the validation set of the config)")
            new.add_argument("--count", type=at_least(1), default=8, help="number of validation images (default: 8)")
        new.add_argument("--ckpt_path", type=Path, help="the trained weights for a config")
        new.add_common("--imports")
        return new.add_argument

    layer = "name of the layer, or its end (default: the first convolution)"
    part("layers", "Output, weights, multiplications, memory and receptive field of each layer.")
    add = part("features", "The feature maps of a layer for each image.", images=True)
    add("--layer", help=layer)
    add = part("filters", "The filters of a convolution.")
    add("--layer", help=layer)
    add = part("maximize", "The image that maximizes a class or a unit of a layer.")
    add("--class", dest="classes", action="append", default=[], help="a class (default: the first 16)")
    add("--layer", help="a layer, instead of the classes")
    add("--unit", type=at_least(0), action="append", help="a unit of the layer (default: the first 16)")
    add("--softmax", action="store_true", help="maximize the probability of a class, not the logit")
    add("--steps", type=at_least(1), default=200, help="(default: 200)")
    add("--rate", type=between(0), default=0.1, help="root mean square of a step (default: 0.1)")
    add("--decay", type=between(0, 1), default=0.01, help="share of the image that a step removes (default: 0.01)")
    add("--blur", type=between(0), default=1.0, help="standard deviation in pixels (default: 1)")
    add("--clip", type=between(0, 1), default=0.1, help="share of the smallest pixels set to zero (default: 0.1)")
    add("--jitter", type=at_least(0), default=8, help="largest shift in pixels (default: 8)")
    add = part("attack", "Images with a small change that the network no longer recognizes.", images=True)
    add("--radius", type=at_least(1), default=8, help="largest change of a value, in levels of 255 (default: 8)")
    add("--method", choices=("fgsm", "pgd"), default="pgd", help="(default: pgd)")
    add("--steps", type=at_least(1), default=10, help="number of steps of pgd (default: 10)")
    add = part("explain", "The parts of an image that a prediction depends on.", images=True)
    add("--method", choices=("gradcam", "occlusion"), default="gradcam", help="(default: gradcam)")
    add("--key", help="key of the head, such as mask (default: the first)")
    add("--class", dest="classes", action="append", default=[], help="a class (default: the predicted class)")
    add("--object", type=at_least(1), default=1, help="which of the objects, by falling score (default: 1, the best)")
    add("--window", type=at_least(1), help="side of the occluding window in pixels")


def _init(parser: Arguments) -> None:
    add = parser.add_argument
    add("folder", type=Path, help="folder with images and, perhaps, tables, boxes or masks")
    add("--output", type=Path, help="path of the config (default: the name of the folder and the layout with .yaml)")
    add("--layout", choices=LAYOUTS, metavar="NAME", help=f"one of several: {', '.join(LAYOUTS)}")
    add("--no_estimate", dest="estimate", action="store_false", help="do not time a few steps")


def _doctor(parser: Arguments) -> None:
    add = parser.add_argument
    add("-c", "--config", type=find_config, required=True, help="a config of fit, or the config.yaml of a run")
    add("--output", type=Path, help="folder for doctor.json and, for each check, a list of the files")
    add("--ignore", nargs="+", default=[], metavar="CHECK", help="checks to leave out, such as near_duplicates")
    add("--no_label_errors", dest="label_errors", action="store_false", help="do not look for wrong labels (slow)")


def _configs(parser: Arguments) -> None:
    parser.add_argument("--copy", metavar="NAME", help="write this config to the working directory, to change it there")


ARGUMENTS: dict[str, tuple[Callable[[Arguments], None], str | None]] = {
    "predict": (_predict, None),
    "demo": (_demo, None),
    "evaluate": (_evaluate, CHANGES_DATA),
    "report": (_report, CHANGES_DATA),
    "export": (_export, CHANGES_DATA),
    "detect": (_detect, None),
    "study": (_study, "All other arguments are those of fit, for every run."),
    "inspect": (_inspect, CHANGES_CONFIG),
    "init": (_init, None),
    "doctor": (_doctor, CHANGES_DATA),
    "configs": (_configs, None),
}
