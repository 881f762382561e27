"""Names of arguments, checked before anything heavy is imported, with the words of other tools."""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from visiontasks.core.compat import keys_of_section
from visiontasks.core.errors import InputError

TRAINING = (  # first parts of the arguments of fit, test ...
    *("config", "data", "model", "trainer"),
    *("ckpt_path", "early_stopping", "help", "help_all", "imports", "print_config", "report", "save_every"),
    "seed_everything",
)
SECTIONS = {  # what else a command takes: the sections of a config that it changes
    "doctor": ("data",),
    "evaluate": ("data",),
    "export": ("data",),
    "report": ("data",),
    "inspect": ("data", "model", "trainer"),
    "study": TRAINING,
}
MEANT = {  # our name: words of other tools
    "ckpt_path": "checkpoint ckpt resume resume_from",
    "config": "cfg conf config_file yaml",
    "data.augment": "aug augmentation augmentations transforms",
    "data.batch_size": "b batch batch_size bs train_batch_size per_device_train_batch_size",
    "data.dataset": "dataset",
    "data.dataset.root": "data_dir data_path data_root dir folder image_dir images img_dir input path root source",
    "data.dataset.splits": "split splits val_split validation_split",
    "data.image_size": "image_size img img_size imgsz input_size resolution size",
    "data.num_workers": "j num_workers worker workers",
    "early_stopping": "patience",
    "model.backbone.name": "arch architecture backbone encoder model_name net network",
    "model.backbone.pretrained": "pretrained",
    "model.optimizer": "opt optim optimizer",
    "model.optimizer.lr": "base_lr learning_rate lr lr0",
    "model.optimizer.weight_decay": "wd weight_decay",
    "model.schedule": "lr_schedule lr_scheduler sched schedule scheduler",
    "model.weights": "init_from weights",
    "seed_everything": "random_state seed",
    "trainer.accelerator": "accelerator cpu device",
    "trainer.accumulate_grad_batches": "accumulate gradient_accumulation_steps",
    "trainer.callbacks": "callbacks",
    "trainer.default_root_dir": "log_dir logdir name out outdir output output_dir project root_dir save_dir work_dir",
    "trainer.devices": "devices gpu gpus n_gpus num_gpus",
    "trainer.gradient_clip_val": "clip clip_grad clip_grad_norm grad_clip gradient_clip_val max_grad_norm",
    "trainer.limit_train_batches": "limit_train_batches",
    "trainer.logger": "log logger report_to tensorboard",
    "trainer.max_epochs": "e ep epoch epochs max_epoch max_epochs n_epochs num_epochs num_train_epochs",
    "trainer.max_steps": "iterations iters max_iters max_steps num_steps steps",
    "trainer.max_time": "max_time time",
    "trainer.precision": "amp bf16 fp16 half mixed_precision precision",
}
WORDS = {word: name for name, words in MEANT.items() for word in words.split()}
FILES = (".yaml", ".yml")
PATH = r"[\w./~-]*[A-Za-z/~][\w./~-]*"  # not a number, nor settings in braces
NETWORK = r"[a-z][a-z0-9_]*(\.[a-z][\w.]*)?"  # how timm names networks; classes begin with a capital letter


def check_names(command: str, args: Sequence[str], own: Iterable[str]) -> None:
    """Checks the names of arguments as far as they are known without a parser of configs.

    Args:
        command: Name of the command.
        args: Its arguments.
        own: Names of its own arguments, without dashes.

    Raises:
        InputError: There is no argument of such a name; the message names the one that was probably meant.
    """
    known = {*own, *SECTIONS.get(command, ())}
    for argument, after in zip(args, [*args, ""][1:], strict=True):
        found = re.match(r"--?([a-zA-Z][\w.-]*)", argument)
        if found and found[1].partition(".")[0] not in known:
            value = argument.partition("=")[2] or after
            advice = _advice(found[1], known, value) or f" `visiontasks {command} --help` lists the arguments."
            raise InputError(f"{command}: there is no argument {found[0]}.{advice}")


def check_training_names(command: str, args: Sequence[str]) -> None:
    """Checks the names of the arguments of a training command, and the values that are usual in other tools.

    Raises:
        InputError: There is no argument of such a name, or a config, the folder of the images or the name of a network
            is not given as such.
    """
    check_first(command, args)
    check_names(command, args, {"c", "h", *TRAINING})
    check_keys(command, args)
    check_order(args)
    for value in values_of(args, "--data"):
        if re.fullmatch(PATH, value) and not value.endswith(FILES):
            hint = f"For the folder of the images, use `--data.dataset.root {value}`."
            raise InputError(f"--data: {value} is not a file of settings. Name a .yaml file. {hint}")
    for value in values_of(args, "--model"):
        if re.fullmatch(NETWORK, value) and not value.endswith(FILES):
            hint = f"For a network of timm, use `--model.backbone.name {value}`."
            raise InputError(f"--model: {value} is not the class of a task, such as ClassificationTask. {hint}")


def check_first(command: str, args: Sequence[str]) -> None:
    """Raises an InputError if the arguments begin with a config or a folder that no option names."""
    first = args[0] if args else "-"
    if first.startswith("-"):
        return
    if os.path.isdir(first) and not first.endswith(FILES):
        raise InputError(f"{command}: {first!r} is a folder. `visiontasks init {first}` writes a config for it.")
    hint = f"-c {first}" if first.endswith(FILES) else f"-c CONFIG --data.dataset.root {first}"
    raise InputError(f"{command}: {first!r} stands alone. Did you mean `{command} {hint}`?")


def check_keys(command: str, args: Sequence[str]) -> None:
    """Raises an InputError if there is no such key in the section `trainer` or `data`."""
    for argument, after in zip(args, [*args, ""][1:], strict=True):
        found = re.match(r"--(trainer|data)\.(\w+)", argument)
        if found and (known := keys_of_section(found[1])) and found[2] not in known:
            close = get_close_matches(found[2], known, 1)
            given = "" if "=" in argument or after.startswith("-") else f" {after}"
            hint = f"Did you mean `--{found[1]}.{close[0]}{given}`?" if close else f"It has {', '.join(sorted(known))}."
            raise InputError(f"{command}: there is no argument {found[0]}. {hint}")


def check_order(args: Sequence[str]) -> None:
    """Raises an InputError if options of a class come before the class, which would drop them."""
    names = [arg.partition("=")[0] for arg in args if arg.startswith("--")]
    for place, name in enumerate(names):
        if early := [one for one in names[:place] if name.count(".") and one.startswith(f"{name}.")]:
            raise InputError(f"{name}: give it before {early[0]}, which is an option of the class that it names.")


def values_of(args: Sequence[str], *names: str) -> list[str]:
    """Returns the values of `--name value` and `--name=value`, without a parser."""
    pairs = ((*arg.partition("=")[::2], after) for arg, after in zip(args, [*args, ""][1:], strict=True))
    return [own or after for name, own, after in pairs if name in names]


def _advice(name: str, known: set[str], value: str) -> str:
    words = {word: key for word, key in WORDS.items() if key.partition(".")[0] in known}
    word = name.lower().replace("-", "_")
    close = [word] if word in words else get_close_matches(word, [*known, *words], 1, cutoff=0.7)
    if not close:
        return ""
    given = "" if not value or value.startswith("-") else f" {value}"
    return f" Did you mean `--{words.get(close[0], close[0])}{given}`?"
