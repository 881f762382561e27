"""What is private in a library is still as `core/compat.py` takes it to be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jsonargparse import ArgumentParser
from torch import nn
from torch.optim import SGD, Optimizer

from visiontasks.core.compat import class_of_partial, option_names


def test_jsonargparse_wraps_the_class_of_a_callable_in_a_partial() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--make", type=Callable[[list], Optimizer])
    made = parser.instantiate(parser.parse_args(["--make", "torch.optim.SGD", "--make.lr", "0.5"])).make
    assert isinstance(made, partial)
    assert class_of_partial(made) is SGD
    assert made.keywords["lr"] == 0.5
    assert class_of_partial(partial(SGD, lr=0.1)) is SGD
    assert class_of_partial(partial(lambda channels: nn.Linear(channels, 2))) is None


def test_argparse_keeps_the_options_of_subcommands() -> None:
    parser, fit = ArgumentParser(), ArgumentParser()
    parser.add_argument("--config_file", type=str)
    fit.add_class_arguments(nn.Dropout, "dropout")
    parser.add_subcommands().add_subcommand("fit", fit)
    assert {"config_file", "dropout.p", "dropout.inplace"} <= option_names(parser)
