"""All uses of private or undocumented parts of libraries, one function for each.

Each function names the library, the last version checked and the reason why no public way exists, and has a test in
tests/test_compat.py that fails when the library changes.
"""

import ast
import importlib.util
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

# Libraries are imported inside the functions, so that importing this module imports none of them.


def end_fit_after_rates(finder: Any) -> None:
    """Makes Lightning's LearningRateFinder end the fit after it has tried its learning rates."""
    # lightning 2.6.6. Only `Tuner.lr_find` sets this, which puts the finder before all other callbacks.
    finder._early_exit = True


@contextmanager
def bar_of_rates(make_bar: Any) -> Generator[None]:
    """Replaces the progress bar of Lightning's LearningRateFinder.

    Args:
        make_bar: Called with a description, `desc`, and the number of rates, `total`; returns an object with the
            methods `update` and `close`.
    """
    # lightning 2.6.6. It always shows a bar of tqdm.
    from lightning.pytorch.tuner import lr_finder

    original, lr_finder.tqdm = lr_finder.tqdm, make_bar
    try:
        yield
    finally:
        lr_finder.tqdm = original


def load_training_data(trainer: Any) -> None:
    """Creates Lightning's training loader, so that the number of batches is known before the optimizers exist."""
    # lightning 2.6.6. `estimated_stepping_batches` does the same, but not if only `max_steps` is given.
    trainer.fit_loop.setup_data()


def resume_at_the_end_of_epochs(trainer: Any) -> None:
    """Lets a fit with `max_steps` resume at the end of an epoch as other fits do."""
    # lightning 2.6.6. Otherwise it takes the epoch for unfinished, ends it once more, and leaves out the next one.
    trainer.fit_loop._iteration_based_training = lambda: False


def leave_signals(trainer: Any) -> None:
    """Keeps Lightning from handling signals, which would exit with status 0 and hang if only one rank gets a signal."""
    # lightning 2.6.6. It has no option for this. The second method would wait for all ranks in each step.
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def leave_out_anonymous(logger: Any) -> None:
    """Keeps Lightning's WandbLogger from giving W&B a setting about which W&B warns in every run."""
    # lightning 2.6.6, wandb 0.31. Lightning gives `anonymous`, even if it is None, and W&B has deprecated it.
    logger._wandb_init.pop("anonymous", None)


def allow_clipping(optimizer: Any) -> None:
    """Allows Lightning to clip the gradients of a fused torch optimizer in mixed precision."""
    # torch 2.15, lightning 2.6.6. Both take the attribute as a sign that the optimizer unscales gradients itself.
    # Without it, the scaler unscales them before the step. The constructor always sets it.
    optimizer._step_supports_amp_scaling = False


def tree_leaves(values: Any) -> list[Any]:
    """Returns the leaves of nested lists, tuples and dicts, as torch defines them."""
    # torch 2.15. `torch.utils` has no public pytree module.
    from torch.utils._pytree import tree_leaves

    return tree_leaves(values)


def exact_module() -> Any:
    """Returns a subclass of nn.Module whose own buffers keep their type if it is cast with the rest of a model."""
    # torch 2.15. `Module.to` cannot leave out tensors, and all casts go through this private method.
    from torch import nn

    class ExactModule(nn.Module):
        def _apply(self, fn: Any, recurse: bool = True) -> Any:
            before = dict(self.named_buffers(recurse=False))
            super()._apply(fn, recurse)
            for name, buffer in before.items():
                if (cast := getattr(self, name)).dtype != buffer.dtype:
                    setattr(self, name, buffer.to(cast.device))
            return self

    return ExactModule


def dispatch_mode() -> Any:
    """Returns the base class of a context that intercepts every torch operation."""
    # torch 2.15. Torch's notes on extending document it, but it is only in a private module.
    from torch.utils._python_dispatch import TorchDispatchMode

    return TorchDispatchMode


@contextmanager
def exact_padding() -> Generator[None]:
    """Replaces timm's "same" padding by one in integer arithmetic."""
    # timm 1.0.31. Its `math.ceil` of a symbolic size cannot be saved and slows torch.export down to minutes. The layers
    # take the function from this module and have no argument for another one.
    from timm.layers import padding

    original = padding.get_same_padding
    padding.get_same_padding = same_padding  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        padding.get_same_padding = original


def same_padding(length: Any, kernel_size: int, stride: int, dilation: int) -> Any:
    """Computes the pixels that "same" padding adds along one axis, in integer arithmetic."""
    import torch

    reach = (kernel_size - 1) * dilation + 1
    total = ((length + stride - 1) // stride - 1) * stride + reach - length
    return total if reach >= stride else torch.sym_max(total, 0)  # symbolic sizes stay simple without a maximum


@contextmanager
def hub_offline(offline: bool = True) -> Generator[None]:
    """Makes the Hugging Face hub use its cache alone, without any request."""
    # huggingface_hub 2.4. The public way is an environment variable, which is only read at the import.
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, offline or constants.HF_HUB_OFFLINE
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def smp_decoder(name: str) -> Any:
    """Returns the decoder class of the model with this name in segmentation-models-pytorch."""
    # segmentation-models-pytorch 0.6.0. Only whole models are public, and they contain their own encoder.
    folder = "deeplabv3" if name == "DeepLabV3Plus" else name.lower()
    return getattr(import_module(f"segmentation_models_pytorch.decoders.{folder}.decoder"), f"{name}Decoder")


def initialize_smp_decoder(decoder: Any) -> None:
    """Initializes a decoder like the models of segmentation-models-pytorch."""
    # segmentation-models-pytorch 0.6.0. Only whole models call it.
    from segmentation_models_pytorch.base import initialization

    initialization.initialize_decoder(decoder)


class Pets(NamedTuple):
    """One part of Oxford-IIIT Pet as torchvision reads it; `classes` are the names of the breeds that occur."""

    classes: list[str]
    images: list[Path]
    breeds: list[int]  # per image, numbered as published, from 0
    species: list[int]  # per image, 0 for a cat and 1 for a dog


def read_pets(source: Any) -> Pets:
    """Lists the images and labels of torchvision's OxfordIIITPet."""
    # torchvision 0.29.2. The public `source[index]` decodes the image to return a label.
    return Pets(list(source.classes), list(source._images), list(source._labels), list(source._bin_labels))


def class_of_partial(value: partial) -> type | None:
    """Returns the class that a partial creates an object of, also for jsonargparse's partial of a callable type."""
    # jsonargparse 4.53. The `func` of its partial is a private function, and the last positional argument is the class.
    # No public function tells which class a callable creates.
    return next((item for item in reversed((value.func, *value.args)) if isinstance(item, type)), None)


def option_names(parser: Any) -> set[str]:
    """Returns the names of all options of a jsonargparse parser and its subcommands, without dashes."""
    # argparse of Python 3.11, jsonargparse 4.53. `get_defaults` omits subcommands and options without a default.
    commands = [sub for action in parser._actions for sub in getattr(action, "_name_parser_map", {}).values()]
    return {option.lstrip("-") for one in [parser, *commands] for option in one._option_string_actions}


def keys_of_section(section: str) -> set[str]:
    """Returns the keys of `trainer` or `data`, read from the source of the class; empty if it is not found."""
    # lightning 2.6. Importing the classes takes seconds, and nobody has to wait for the news of a misspelled key.
    packages = {"trainer": ("lightning", "pytorch/trainer/trainer.py"), "data": ("visiontasks", "data/datamodule.py")}
    package, file = packages[section]
    found = importlib.util.find_spec(package)
    folder = next(iter(found.submodule_search_locations or []), "") if found else ""
    try:
        module = ast.parse(Path(folder, file).read_text("utf-8"))
    except (OSError, SyntaxError):
        return set()
    parts = [part for node in module.body if isinstance(node, ast.ClassDef) for part in node.body]
    made = [part.args for part in parts if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    return {argument.arg for one in made[-1:] for argument in (*one.args, *one.kwonlyargs)} - {"self"}


def forget_options_of_replaced_classes(kept: type) -> None:
    """Makes jsonargparse drop the options of a class that a config or an argument replaces, but not those of `kept`."""
    # jsonargparse 4.53. It keeps the options that the new class has too, and has no setting for that.
    from jsonargparse import Namespace, _typehints

    original = _typehints.discard_init_args_on_class_path_change

    @wraps(original)
    def discard(parser: Any, before: Any, value: Any) -> None:
        if isinstance(before, Namespace) and before.get("class_path") and before.get("init_args"):
            old, new = (_typehints.import_object(one["class_path"]) for one in (before, value))
            if old is not new and not (isinstance(new, type) and issubclass(new, kept)):
                before["init_args"] = Namespace()
        original(parser, before, value)

    _typehints.discard_init_args_on_class_path_change = discard  # ty: ignore[invalid-assignment]
