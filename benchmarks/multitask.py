"""A config of several heads on one backbone beside each of its heads alone, on the same recipe: the last epoch.

uv run python benchmarks/multitask.py configs/multitask/shapes.yaml
"""

from __future__ import annotations

import argparse
import tempfile

import yaml
from runs import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    options, changes = parser.parse_known_args()
    with open(options.config) as file:
        model = yaml.safe_load(file)["model"]["init_args"]
    found = {}
    for keys in [list(model["heads"]), *([key] for key in model["heads"])]:
        heads = {key: model["heads"][key] for key in keys}
        weights = {key: weight for key, weight in (model.get("loss_weights") or {}).items() if key in keys}
        some = ["--model.heads", yaml.safe_dump(heads, default_flow_style=True, width=1_000_000)]
        some += ["--model.loss_weights", yaml.safe_dump(weights, default_flow_style=True) if weights else "null"]
        some += [] if "label" in keys else ["--trainer.callbacks", "null"]  # the closed form of the labels
        with tempfile.TemporaryDirectory() as directory:
            found["+".join(keys)], seconds = run("fit", options.config, directory, *some, *changes)
        print("+".join(keys), f"{seconds:.0f} s", found["+".join(keys)], flush=True)
    together = found.pop("+".join(model["heads"]))
    print(f"\n{options.config}: together, alone, difference, baseline")
    for key, alone in found.items():
        name = {"label": "val/accuracy", "bbox": "val/iou", "mask": "val/miou"}[key]
        figures = (together[name], alone[name], together[name] - alone[name], alone[f"{name}_baseline"])
        print(f"  {name:13}", " ".join(f"{figure:6.3f}" for figure in figures))


if __name__ == "__main__":
    main()
