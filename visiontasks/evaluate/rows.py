"""Figures of one or two models as the rows of a table."""

from collections.abc import Sequence

from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate.evaluation import Counts, bootstrap
from visiontasks.targets import find_target

Row = dict[str, str | float]


def figure_rows(
    counts: list[Counts], baseline: Counts, names: Sequence[str], draws: int, dataset: VisionDataset
) -> list[Row]:
    """Returns one row per figure with `value`, `low` and `high` per model, their difference, and `baseline`."""
    rows: list[Row] = []
    for key in counts[0]:
        parts = {name: bootstrap(key, one[key], draws) for name, one in zip(names, counts, strict=False)}
        if len(counts) == 2:
            parts["difference"] = bootstrap(key, counts[0][key], draws, counts[1][key])
        trivial, classes = find_target(key).figures(baseline[key]), dataset.names(key)
        for metric in next(iter(parts.values())):
            per_class = metric.startswith("class/")
            for place, name in enumerate(classes if per_class else [""]):
                row: Row = {"key": key, "metric": metric.removeprefix("class/"), "class": name}
                for title, intervals in parts.items():
                    start = f"{title} " if len(parts) > 1 else ""
                    row |= {f"{start}{part}": number for part, number in intervals[metric][place]._asdict().items()}
                value = trivial[metric]
                rows.append({**row, "baseline": float(value[place] if per_class else value)})
    return rows
