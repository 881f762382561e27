"""Every private or undocumented part of a library that the package touches, one function for each.

Each names the library and the version in which it was last seen, and says why no public way exists. Each has a test
in tests/test_compat.py that fails when the library changes the part.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

# Libraries are imported inside the functions: importing this module imports none of them.


def end_fit_after_rates(finder: Any) -> None:
    """Lets Lightning's LearningRateFinder end the fit once it has tried its rates."""
    # lightning 2.6.6. Only `Tuner.lr_find` sets this, and it puts the finder before all other callbacks.
    finder._early_exit = True


def load_training_data(trainer: Any) -> None:
    """Makes Lightning's training loader, so that the number of batches is known before the optimizers are made."""
    # lightning 2.6.6. `estimated_stepping_batches` does the same, but not where only `max_steps` is given.
    trainer.fit_loop.setup_data()


def allow_clipping(optimizer: Any) -> None:
    """Lets Lightning clip the gradients of a fused torch optimizer in mixed precision."""
    # torch 2.15, lightning 2.6.6. Both read this mark of an optimizer that unscales gradients itself; without it the
    # scaler unscales them before the step, as for any other optimizer. The constructor cannot leave it out.
    optimizer._step_supports_amp_scaling = False


def tree_leaves(values: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts, as torch counts them."""
    # torch 2.15. `torch.utils` has no public pytree module.
    from torch.utils._pytree import tree_leaves

    return tree_leaves(values)


def dispatch_mode() -> Any:
    """The base class of a context in which every torch operation passes by."""
    # torch 2.15. Documented in torch's notes on extending it, but in a private module only.
    from torch.utils._python_dispatch import TorchDispatchMode

    return TorchDispatchMode


@contextmanager
def exact_padding() -> Generator[None]:
    """Lets timm's padding "same" compute with whole numbers."""
    # timm 1.0.31. Its `math.ceil` of a size that is not known yet cannot be saved, and makes torch.export think for
    # minutes. The layers take the function from this module and offer no argument for another.
    from timm.layers import padding

    original = padding.get_same_padding
    padding.get_same_padding = same_padding  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        padding.get_same_padding = original


def same_padding(length: Any, kernel_size: int, stride: int, dilation: int) -> Any:
    """The pixels that padding "same" adds along one side, without a division of real numbers."""
    import torch

    reach = (kernel_size - 1) * dilation + 1
    total = ((length + stride - 1) // stride - 1) * stride + reach - length
    return total if reach >= stride else torch.sym_max(total, 0)  # without the maximum the sizes stay simple


def smp_decoder(name: str) -> Any:
    """The decoder class of segmentation-models-pytorch that its model of this name uses."""
    # segmentation-models-pytorch 0.6.0. Only whole models are public, and they bring an encoder of their own.
    folder = "deeplabv3" if name == "DeepLabV3Plus" else name.lower()
    return getattr(import_module(f"segmentation_models_pytorch.decoders.{folder}.decoder"), f"{name}Decoder")


def initialize_smp_decoder(decoder: Any) -> None:
    """Sets the first weights of a decoder as models of segmentation-models-pytorch do."""
    # segmentation-models-pytorch 0.6.0. Only whole models call it.
    from segmentation_models_pytorch.base import initialization

    initialization.initialize_decoder(decoder)


class Pets(NamedTuple):
    """What torchvision reads of one part of Oxford-IIIT Pet.

    Attributes:
        classes: Names of the breeds that occur.
        images: Files.
        breeds: One for each image, numbered as published, from 0.
        species: One for each image, 0 for a cat and 1 for a dog.
    """

    classes: list[str]
    images: list[Path]
    breeds: list[int]
    species: list[int]


def read_pets(source: Any) -> Pets:
    """Lists the images and labels of torchvision's OxfordIIITPet."""
    # torchvision 0.29.2. In public only `source[index]` has the labels, and it decodes the image each time.
    return Pets(list(source.classes), list(source._images), list(source._labels), list(source._bin_labels))


def class_of_partial(value: partial) -> type | None:
    """The class that a partial will make an object of, also where jsonargparse made the partial of a callable type."""
    # jsonargparse 4.53. It wraps the class for its own instantiation: the last positional argument of its partial is
    # the class, and `func` is a private function. Nothing public tells what a built callable will make.
    return next((item for item in reversed((value.func, *value.args)) if isinstance(item, type)), None)


def option_names(parser: Any) -> set[str]:
    """The names of all options of a jsonargparse parser and its subcommands, without dashes."""
    # argparse of Python 3.11, jsonargparse 4.53. `get_defaults` leaves out what has none, and subcommands; the help
    # is cut by the width of the terminal.
    commands = [sub for action in parser._actions for sub in getattr(action, "_name_parser_map", {}).values()]
    return {option.lstrip("-") for one in [parser, *commands] for option in one._option_string_actions}
