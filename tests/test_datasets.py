"""Every source of images: its samples, its splits, and what it says to a wrong input (A5)."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.data import (
    CIFAR10,
    MNIST,
    CsvTable,
    FashionMNIST,
    ImageFolder,
    OxfordIIITPet,
    Shapes,
    Splits,
    VisionDataset,
)
from visiontasks.data.splits import SPLITS, MissingSplit


def names(dataset: VisionDataset) -> list[str]:
    return [dataset.name(index) for index in range(len(dataset))]


def check_contract(dataset: VisionDataset) -> None:
    """What holds for a sample of any dataset."""
    labels = dataset.labels()
    assert labels.dtype == np.int64
    assert labels.shape == (len(dataset),)
    for index in range(len(dataset)):
        sample = dataset[index]
        image = sample["image"]
        assert image.dtype == np.uint8
        assert image.shape == (*sample["size"], 3)
        assert sample["index"] == index
        assert sample["label"] == labels[index]
        assert 0 <= sample["label"] < len(dataset.class_names)


# Splits


def divide(splits: Splits, labels: list[int], groups: list[str] | None = None) -> dict[str, list[int]]:
    result = {}
    for split in SPLITS:
        try:
            result[split] = splits.indices(split, labels, groups).tolist()
        except MissingSplit:
            result[split] = []
    return result


LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [70, 31, 9])).tolist()


@pytest.mark.parametrize(("val", "test"), [(0.2, 0.0), (0.2, 0.1), (0.33, 0.33), (0.1, 0.7), (0.0, 0.0)])
def test_ratio_splits_are_disjoint_complete_and_stratified(val: float, test: float) -> None:
    parts = divide(Splits(val=val, test=test), LABELS)
    assert sorted(chain(*parts.values())) == list(range(len(LABELS)))
    assert all(part == sorted(part) for part in parts.values())
    for split, share in (("val", val), ("test", test)):
        found = Counter(LABELS[i] for i in parts[split])
        for label, count in Counter(LABELS).items():
            assert abs(found[label] - share * count) <= 1


def test_ratio_splits_are_a_function_of_the_seed() -> None:
    splits = [divide(Splits(seed=seed), LABELS)["val"] for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_every_class_of_a_ratio_split_keeps_a_train_part() -> None:
    for count in range(2, 30):
        assert divide(Splits(val=0.25, test=0.25), [0] * count)["train"]


def test_many_small_classes_give_their_share_and_none_loses_its_train_part() -> None:
    labels = [i // 2 for i in range(80)] + [40, 41]  # two of each class, and two classes of one
    for seed in range(10):
        parts = divide(Splits(val=0.2, seed=seed), labels)
        assert {labels[i] for i in parts["train"]} == set(range(42))
        assert len(parts["val"]) == 16


@pytest.mark.parametrize("folds", [2, 5])
def test_fold_k_holds_out_every_sample_with_that_remainder(folds: int) -> None:
    for fold in range(folds):
        parts = divide(Splits(fold=fold, folds=folds, test=0.3), LABELS)
        assert parts["val"] == [i for i in range(len(LABELS)) if i % folds == fold]
        assert parts["train"] == [i for i in range(len(LABELS)) if i % folds != fold]
        assert parts["test"] == []


def test_a_group_never_lies_on_two_sides() -> None:
    groups = [f"patient {i}" for i in np.random.default_rng(1).integers(0, 40, len(LABELS))]
    for seed in range(20):
        parts = divide(Splits(val=0.2, test=0.2, seed=seed), LABELS, groups)
        assert sorted(chain(*parts.values())) == list(range(len(LABELS)))
        sides = [{groups[i] for i in part} for part in parts.values()]
        assert not any(one & other for one, other in combinations(sides, 2))
        largest = max(Counter(groups).values())
        assert abs(len(parts["val"]) - 0.2 * len(LABELS)) <= largest
        assert abs(len(parts["test"]) - 0.2 * len(LABELS)) <= largest


@pytest.mark.parametrize(
    "values",
    [
        {"val": -0.1},
        {"val": 1.0},
        {"test": 1.5},
        {"val": 0.5, "test": 0.5},
        {"val": float("nan")},
        {"fold": 5},
        {"fold": -1},
        {"fold": 0, "folds": 0},
    ],
)
def test_splits_that_cannot_be_are_an_error(values: dict) -> None:
    with pytest.raises(InputError, match=r"^splits"):
        Splits(**values)


def test_an_empty_split_is_missing_and_not_a_wrong_input_of_another_kind() -> None:
    with pytest.raises(MissingSplit, match="the test split is empty: 4 samples"):
        Splits().indices("test", [0, 1, 0, 1])
    with pytest.raises(InputError, match="group"):
        Splits(fold=0).indices("val", [0, 1], ["a", "b"])


# ImageFolder


@pytest.fixture
def one_folder(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Only class folders: 10 images in each of two."""
    for name, color in (("ant", (90, 60, 30)), ("bee", (200, 180, 20))):
        for i in range(10):
            write_image(tmp_path / "insects" / name / f"{i}.png", color, size=(6, 5))
    return tmp_path / "insects"


@pytest.mark.parametrize(("split", "count"), [("train", 24), ("val", 9), ("test", 9)])
def test_image_folder_reads_the_published_splits(class_folders: Path, split: str, count: int) -> None:
    dataset = ImageFolder(split, str(class_folders))
    check_contract(dataset)
    assert dataset.class_names == ["blue", "green", "red"]
    assert len(dataset) == count
    for index, name in enumerate(names(dataset)):
        assert (class_folders / name).is_file()
        assert dataset.class_names[dataset[index]["label"]] == Path(name).parent.name
        assert (
            dataset[index]["image"].mean((0, 1)).argmax() == {"blue": 2, "green": 1, "red": 0}[Path(name).parent.name]
        )


def test_image_folder_without_a_test_folder_misses_that_split_only(class_folders: Path) -> None:
    shutil.rmtree(class_folders / "test")
    assert len(ImageFolder("train", str(class_folders))) == 24
    assert len(ImageFolder("val", str(class_folders))) == 9
    with pytest.raises(MissingSplit, match=r"colors: no 'test'; there are train, val"):
        ImageFolder("test", str(class_folders))


def test_image_folder_may_lack_a_class_in_val(class_folders: Path) -> None:
    shutil.rmtree(class_folders / "val" / "green")
    dataset = ImageFolder("val", str(class_folders))
    assert dataset.class_names == ["blue", "green", "red"]
    assert dataset.labels().tolist() == [0, 0, 0, 2, 2, 2]


def test_splits_that_are_not_used_are_said(class_folders: Path, caplog: Any) -> None:
    with caplog.at_level("INFO"):
        ImageFolder("train", str(class_folders), Splits(val=0.3))
        ImageFolder("train", str(class_folders))
    assert caplog.text.count("colors has the splits, so `splits: {val: 0.3") == caplog.text.count("is not used") == 1


def test_a_folder_of_classes_is_divided_by_ratio(one_folder: Path) -> None:
    parts = {split: ImageFolder(split, str(one_folder), Splits(val=0.2, test=0.3)) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {"train": 10, "val": 4, "test": 6}
    assert len({name for part in parts.values() for name in names(part)}) == 20
    assert all(np.bincount(part.labels()).tolist() == [len(part) // 2] * 2 for part in parts.values())
    check_contract(parts["val"])


def test_a_folder_of_classes_is_divided_into_folds_of_its_sorted_paths(one_folder: Path) -> None:
    listing = sorted(str(path) for path in one_folder.rglob("*.png"))
    for fold in range(3):
        splits = Splits(fold=fold, folds=3)
        held_out, kept = (ImageFolder(split, str(one_folder), splits) for split in ("val", "train"))
        assert [str(one_folder / name) for name in names(held_out)] == listing[fold::3]
        assert sorted(names(held_out) + names(kept)) == [str(Path(path).relative_to(one_folder)) for path in listing]
        assert all(held_out.class_names[held_out[i]["label"]] in name for i, name in enumerate(names(held_out)))


def test_image_folder_takes_nested_folders_and_leaves_hidden_files_out(
    one_folder: Path, write_image: Callable[..., Path]
) -> None:
    write_image(one_folder / "ant" / "garden" / "2024" / "DEEP.JPEG")
    write_image(one_folder / "ant" / ".thumbnails" / "small.png")
    write_image(one_folder / ".git" / "a.png")
    (one_folder / "ant" / ".DS_Store").write_bytes(b"x")
    (one_folder / "ant" / "Thumbs.db").write_bytes(b"x")
    (one_folder / "README.md").write_text("About the insects.")
    dataset = ImageFolder("train", str(one_folder), Splits(val=0))
    assert dataset.class_names == ["ant", "bee"]
    assert len(dataset) == 21
    assert "ant/garden/2024/DEEP.JPEG" in names(dataset)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


FOLDER_FAULTS = {  # which split is asked for, what is done to the folder, what is said
    "no folder": ("train", shutil.rmtree, r"no such folder\. .*one folder per class"),
    "no class": ("train", lambda root: empty(root / "train"), "train: found no class"),
    "one class": (
        "train",
        lambda root: [shutil.rmtree(root / "train" / c) for c in ("blue", "red")],
        "one class, 'green'",
    ),
    "empty class": ("train", lambda root: empty(root / "train/red"), "train/red: no images"),
    "empty val": ("val", lambda root: empty(root / "val"), "val: no images"),
    "class that train lacks": (
        "val",
        lambda root: (root / "val/red").rename(root / "val/rad"),
        "class 'rad' is not in train, which has",
    ),
    "not an image": ("val", lambda root: (root / "val/red/a.txt").touch(), r"val/red/a\.txt: not an image"),
    "no train": ("val", lambda root: (root / "train").rename(root / "old"), "has val/ but no train/"),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_image_folder_says_what_is_wrong_and_where(class_folders: Path, fault: str) -> None:
    split, spoil, message = FOLDER_FAULTS[fault]
    ImageFolder(split, str(class_folders))
    spoil(class_folders)
    with pytest.raises(InputError, match=message) as caught:
        ImageFolder(split, str(class_folders))
    assert str(caught.value).startswith(str(class_folders))


def test_a_broken_image_in_a_folder_is_named_when_it_is_read(class_folders: Path) -> None:
    path = next((class_folders / "train/red").iterdir())
    path.write_bytes(path.read_bytes()[:200])
    dataset = ImageFolder("train", str(class_folders))
    with pytest.raises(InputError, match=path.name):
        [dataset[index] for index in range(len(dataset))]


# CsvTable


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV file beside images named 0.png to 11.png."""
    for i in range(12):
        Image.new("RGB", (4, 3), (i, 0, 0)).save(tmp_path / f"{i}.png")

    def write(header: str, *rows: str, encoding: str = "utf-8", newline: str = "\n") -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(newline.join([header, *rows, ""]).encode(encoding))
        return path

    return write


def plain_rows(divider: str = ",", labels: tuple[str, ...] = ("cat", "dog", "cow")) -> list[str]:
    return [f"{i}.png{divider}{labels[i % len(labels)]}" for i in range(12)]


@pytest.mark.parametrize("divider", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"], ids=["plain", "BOM"])
def test_csv_dialects_give_the_same_table(write_table: Callable, divider: str, newline: str, encoding: str) -> None:
    path = write_table(f"path{divider}label", *plain_rows(divider), newline=newline, encoding=encoding)
    dataset = CsvTable("train", str(path), splits=Splits(val=0))
    check_contract(dataset)
    assert dataset.class_names == ["cat", "cow", "dog"]
    assert names(dataset) == [f"{i}.png" for i in range(12)]
    assert dataset.labels().tolist() == [0, 2, 1] * 4
    assert [dataset[i]["image"][0, 0, 0] for i in range(12)] == list(range(12))


def test_csv_quotes_spaces_and_other_columns_do_not_matter(write_table: Callable, tmp_path: Path) -> None:
    (tmp_path / "a, b.png").write_bytes((tmp_path / "7.png").read_bytes())
    path = write_table("id,path,what", '1,"a, b.png",cat', "2, 1.png , dog ", '3,2.png,"a ""big"" cow"')
    dataset = CsvTable("train", str(path), label_column="what", splits=Splits(val=0))
    assert names(dataset) == ["a, b.png", "1.png", "2.png"]
    assert dataset.class_names == ['a "big" cow', "cat", "dog"]
    assert dataset[0]["image"][0, 0, 0] == 7


def test_csv_split_column_decides(write_table: Callable) -> None:
    kinds = ["train"] * 6 + ["val"] * 4 + ["test"] * 2
    for column, arguments in (("split", {}), ("part", {"split_column": "part"})):
        rows = [f"{row},{kind}" for row, kind in zip(plain_rows(), kinds, strict=True)]
        path = write_table(f"path,label,{column}", *rows)
        parts = {split: names(CsvTable(split, str(path), **arguments)) for split in SPLITS}
        assert parts == {s: [f"{i}.png" for i in range(12) if kinds[i] == s] for s in SPLITS}
    kinds[-2:] = "val", "val"
    path = write_table("path,label,split", *[f"{row},{kind}" for row, kind in zip(plain_rows(), kinds, strict=True)])
    with pytest.raises(MissingSplit, match=r"table\.csv, column 'split': no 'test'; there are train, val"):
        CsvTable("test", str(path))


def test_csv_without_a_split_column_is_divided_by_splits(write_table: Callable) -> None:
    path = str(write_table("path,label", *plain_rows()))
    assert names(CsvTable("val", path, splits=Splits(fold=1))) == ["1.png", "6.png", "11.png"]
    parts = {split: CsvTable(split, path, splits=Splits(val=0.25, test=0.25)) for split in SPLITS}
    assert sorted(name for part in parts.values() for name in names(part)) == sorted(f"{i}.png" for i in range(12))
    assert all(len(set(part.labels().tolist())) == 3 for part in parts.values())


def test_csv_groups_stay_together(write_table: Callable) -> None:
    rows = [f"{row},patient {i // 3}" for i, row in enumerate(plain_rows())]
    path = str(write_table("path,label,patient", *rows))
    splits = Splits(val=0.25, test=0.25)
    parts = {split: CsvTable(split, path, group_column="patient", splits=splits) for split in SPLITS}
    for part in parts.values():
        assert Counter(int(name.removesuffix(".png")) // 3 for name in names(part)).most_common()[-1][1] == 3
    assert sum(map(len, parts.values())) == 12


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("10", "9", "2"), ["2", "9", "10"]),
        (("b", "10", "9"), ["10", "9", "b"]),
        (
            tuple(f"{zeros}{i}" for i in range(1, 7) for zeros in ("", "0")),
            [f"{z}{i}" for i in range(1, 7) for z in ("0", "")],
        ),
    ],
    ids=["numbers", "a name among numbers", "equal numbers"],
)
def test_csv_classes_are_sorted_as_numbers_if_all_are(
    write_table: Callable, labels: tuple[str, ...], expected: list[str]
) -> None:
    path = str(write_table("path,label", *plain_rows(labels=labels)))
    assert CsvTable("train", path, splits=Splits(val=0)).class_names == expected


def test_csv_class_names_that_are_given_keep_their_order(write_table: Callable) -> None:
    path = str(write_table("path,label", *plain_rows()))
    dataset = CsvTable("train", path, splits=Splits(val=0), class_names=["dog", "yak", "cow", "cat"])
    assert dataset.class_names == ["dog", "yak", "cow", "cat"]
    assert dataset.labels().tolist() == [3, 0, 2] * 4


def test_csv_root_is_where_the_paths_start(write_table: Callable, tmp_path: Path) -> None:
    path = write_table("path,label", *plain_rows())
    (tmp_path / "tables").mkdir()
    moved = path.rename(tmp_path / "tables" / "table.csv")
    assert len(CsvTable("train", str(moved), root=str(tmp_path), splits=Splits(val=0))) == 12
    with pytest.raises(InputError, match=r"line 2: no such file: .*tables/0\.png"):
        CsvTable("train", str(moved), splits=Splits(val=0))


CSV_FAULTS = {
    "missing column": (["path,lable", "0.png,cat"], {}, r"no column 'label'; the header has \['path', 'lable'\]"),
    "missing group column": (["path,label", "0.png,cat"], {"group_column": "patient"}, "no column 'patient'"),
    "missing split column": (["path,label", "0.png,cat"], {"split_column": "part"}, "no column 'part'"),
    "empty value": (["path,label", "0.png,cat", "1.png, "], {}, "line 3: label is empty"),
    "empty path": (["path,label", "0.png,cat", ",dog"], {}, "line 3: path is empty"),
    "unknown label": (
        ["path,label", "0.png,cat", "1.png,dog", "2.png,cta"],
        {"class_names": ["cat", "dog"]},
        r"line 4: label 'cta' is not one of \['cat', 'dog'\]",
    ),
    "one class": (["path,label", "0.png,cat", "1.png,cat"], {}, "found one class, 'cat'"),
    "missing file": (["path,label", "0.png,cat", "gone.png,dog"], {}, r"line 3: no such file: .*gone\.png"),
    "a folder": (["path,label", "0.png,cat", ".,dog"], {}, "line 3: no such file"),
    "leaves the root": (
        ["path,label", "0.png,cat", "../../etc/passwd,dog"],
        {},
        r"line 3: '\.\./\.\./etc/passwd' leaves",
    ),
    "absolute path": (["path,label", "0.png,cat", "/etc/passwd,dog"], {}, "line 3: '/etc/passwd' leaves"),
    "zero byte": (["path,label", "0.png,cat", "a\0.png,dog"], {}, "line 3: it has a NUL character"),
    "wrong split": (
        ["path,label,split", "0.png,cat,train", "1.png,dog,other"],
        {},
        "line 3: split 'other' is not one of",
    ),
    "empty split": (["path,label,split", "0.png,cat,train", "1.png,dog,"], {}, "line 3: split '' is not one of"),
    "group in two splits": (
        ["path,label,split,patient", "0.png,cat,train,A", "1.png,dog,train,B", "2.png,dog,val,A"],
        {"group_column": "patient"},
        "line 4: group 'A' is in val and in train",
    ),
    "group and fold": (
        ["path,label,patient", "0.png,cat,A", "1.png,dog,B"],
        {"group_column": "patient", "splits": Splits(fold=0)},
        "do not go together",
    ),
    "too many values": (["path,label", "0.png,cat", "1.png,dog,7"], {}, "line 3: expected 2 columns"),
    "too few values": (["path,label", "0.png,cat", "1.png"], {}, "line 3: expected 2 columns"),
    "no rows": (["path,label"], {}, "a header but no rows"),
}


@pytest.mark.parametrize(
    "fault", ["no number", "label is empty", "no such file", "is not one of", "expected 4 columns"]
)
def test_csv_counts_blank_lines_and_the_lines_of_a_cell(write_table: Callable, fault: str) -> None:
    """Every message has the line on which the row begins, here 6."""
    row = {
        "no number": "1.png,dog,train,x",
        "label is empty": "1.png, ,train,1",
        "no such file": "gone.png,dog,train,1",
        "is not one of": "1.png,dog,other,1",
        "expected 4 columns": "1.png,dog",
    }[fault]
    path = write_table("path,label,split,area", "", '0.png,"cat', '",train,1', "", row, '2.png,"cow', '",train,1')
    message = {"no number": "area must be numbers"}.get(fault, fault)
    with pytest.raises(InputError, match=rf"line 6: .*{message}"):
        CsvTable("train", str(path), value_columns=["area"] * (fault == "no number"))


@pytest.mark.parametrize("fault", CSV_FAULTS)
def test_csv_says_what_is_wrong_and_in_which_row(write_table: Callable, fault: str) -> None:
    lines, arguments, message = CSV_FAULTS[fault]
    path = write_table(*lines)
    with pytest.raises(InputError, match=message) as caught:
        CsvTable("train", str(path), **{"splits": Splits(val=0), **arguments})
    assert fault == "group and fold" or str(path) in str(caught.value)


def test_csv_that_is_no_utf8_empty_missing_or_a_folder_is_an_error(write_table: Callable, tmp_path: Path) -> None:
    path = write_table("path,label", "0.png,grün", encoding="latin-1")
    with pytest.raises(InputError, match=r"table\.csv: not UTF-8 at byte 19"):
        CsvTable("train", str(path))
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"table\.csv: no column 'path'"):
        CsvTable("train", str(path))
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        CsvTable("train", str(tmp_path / "gone.csv"))
    with pytest.raises(InputError, match=f"{tmp_path}: "):
        CsvTable("train", str(tmp_path))


# torchvision's sets


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_mnist_files_become_rgb_with_val_taken_from_train(tmp_path: Path, kind: type) -> None:
    rng = np.random.default_rng(0)
    written = {
        "train": rng.integers(0, 256, (40, 28, 28), np.uint8),
        "t10k": rng.integers(0, 256, (10, 28, 28), np.uint8),
    }
    for part, images in written.items():
        folder = tmp_path / kind.__name__ / "raw"
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(len(images)) % 10).astype(np.uint8))
    splits = Splits(val=0.25)
    parts = {split: kind(split, str(tmp_path), splits=splits) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {"train": 30, "val": 10, "test": 10}
    seen = set()
    for part in parts.values():
        check_contract(part)
        assert len(part.class_names) == 10
        assert np.bincount(part.labels()).tolist() == [len(part) // 10] * 10
        for index, name in enumerate(names(part)):
            side, number = name.split("/")
            original = written["t10k" if side == "test" else "train"][int(number)]
            np.testing.assert_array_equal(part[index]["image"], np.dstack([original] * 3))
            assert part[index]["label"] == int(number) % 10
            seen.add(name)
    assert len(seen) == 50


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """The published layout with ten images in each of five training files and one test file."""
    from torchvision import datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), np.uint8)

    def write(name: str, content: dict) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    files = []
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = pixels[number * 10 :][:10].reshape(10, -1)
        files.append([name, write(name, {"data": rows, "labels": list(range(10))})])
    meta = {"label_names": [f"thing {i}" for i in range(10)]}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", files[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", files[5:])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", write("batches.meta", meta))
    return tmp_path, pixels.transpose(0, 2, 3, 1)


def test_cifar_files_give_their_pixels_and_names(cifar: tuple[Path, np.ndarray]) -> None:
    root, pixels = cifar
    parts = {split: CIFAR10(split, str(root), splits=Splits(val=0.2)) for split in SPLITS}
    assert names(CIFAR10("val", str(root), splits={"val": 0.2})) == names(parts["val"])
    assert {split: len(part) for split, part in parts.items()} == {"train": 40, "val": 10, "test": 10}
    for part in parts.values():
        check_contract(part)
        assert part.class_names == [f"thing {i}" for i in range(10)]
        for index, name in enumerate(names(part)):
            side, number = name.split("/")
            np.testing.assert_array_equal(part[index]["image"], pixels[int(number) + 50 * (side == "test")])
            assert part[index]["label"] == int(number) % 10


def test_a_cifar_file_that_is_not_the_published_one_is_refused(cifar: tuple[Path, np.ndarray]) -> None:
    root, _ = cifar
    with (root / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="corrupted"):
        CIFAR10("train", str(root))


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, OxfordIIITPet])
def test_a_set_that_is_not_there_is_an_error_and_nothing_is_downloaded(tmp_path: Path, kind: type) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/nothing: .*{kind.__name__}.*download: true"):
        kind("train", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08 still compressed", b"\0\0\x08\x03\0\0\0\x09 cut short"])
def test_a_broken_file_of_a_set_is_an_error_that_names_the_set(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "MNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", np.zeros((9, 28, 28), np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(9, dtype=np.uint8))
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=rf"{tmp_path}: .*MNIST"):
        MNIST("train", str(tmp_path))


def test_a_test_ratio_beside_a_published_test_part_is_refused(cifar: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"splits\.test: 0\.1, but CIFAR10 has a test part of its own"):
        CIFAR10("train", str(cifar[0]), splits=Splits(val=0.1, test=0.1))


PETS = {"Abyssinian": (1, 1), "american_bulldog": (2, 2), "Bengal": (6, 1)}  # class id and species, as published


@pytest.fixture
def write_pets(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., Path]:
    def write(**breeds: list[str]) -> Path:
        """Ten images of each breed in trainval, three of each in test."""
        for part, listed in breeds.items():
            lines = []
            for breed in listed:
                for i in range(10 if part == "trainval" else 3):
                    write_image(tmp_path / f"oxford-iiit-pet/images/{breed}_{part}{i}.jpg", size=(20, 15))
                    lines.append("{}_{}{} {} {} 1\n".format(breed, part, i, *PETS[breed]))
            (tmp_path / "oxford-iiit-pet/annotations").mkdir(exist_ok=True)
            (tmp_path / f"oxford-iiit-pet/annotations/{part}.txt").write_text("".join(lines))
        return tmp_path

    return write


def test_pet_breeds_with_gaps_in_their_ids_become_contiguous(write_pets: Callable) -> None:
    root = str(write_pets(trainval=list(PETS), test=list(PETS)))
    order = ["Abyssinian", "american_bulldog", "Bengal"]
    for split, count in (("train", 24), ("val", 6), ("test", 9)):
        dataset = OxfordIIITPet(split, root, splits=Splits(val=0.2))
        check_contract(dataset)
        assert dataset.class_names == ["Abyssinian", "American Bulldog", "Bengal"]
        assert np.bincount(dataset.labels()).tolist() == [count // 3] * 3
        assert [order[label] for label in dataset.labels()] == [name.rsplit("_", 1)[0] for name in names(dataset)]


def test_pet_species_are_cat_and_dog(write_pets: Callable) -> None:
    root = str(write_pets(trainval=list(PETS), test=list(PETS)))
    dataset = OxfordIIITPet("train", root, classes="species", splits=Splits(val=0.2))
    check_contract(dataset)
    assert dataset.class_names == ["cat", "dog"]
    assert [bool(label) for label in dataset.labels()] == ["bulldog" in name for name in names(dataset)]


def test_pet_classes_are_the_same_in_a_test_part_that_lacks_one(write_pets: Callable) -> None:
    root = str(write_pets(trainval=list(PETS), test=["Abyssinian", "Bengal"]))
    dataset = OxfordIIITPet("test", root)
    assert dataset.class_names == OxfordIIITPet("train", root).class_names
    assert dataset.labels().tolist() == [0, 0, 0, 2, 2, 2]


def test_pets_without_a_list_of_one_part_are_an_error(write_pets: Callable) -> None:
    root = write_pets(trainval=list(PETS))
    with pytest.raises(InputError, match=r"OxfordIIITPet .*test\.txt"):
        OxfordIIITPet("test", str(root))


def test_pet_classes_that_only_the_test_part_has_are_refused(write_pets: Callable) -> None:
    root = str(write_pets(trainval=["Abyssinian", "Bengal"], test=list(PETS)))
    with pytest.raises(InputError, match="American Bulldog"):
        OxfordIIITPet("test", root)


def test_real_pets_and_flowers_are_read(shared_data: Path) -> None:
    pets, flowers = shared_data / "pets3", shared_data / "flowers5"
    if not (pets.is_dir() and flowers.is_dir()):
        pytest.skip("no pets3 and flowers5")
    dataset = OxfordIIITPet("test", str(pets))
    assert dataset.class_names == ["Abyssinian", "American Bulldog", "Bengal"]
    assert sorted(np.bincount(dataset.labels()).tolist()) == [98, 100, 100]
    dataset = ImageFolder("train", str(flowers))
    assert np.bincount(dataset.labels()).tolist() == [220] * 5
    assert dataset[0]["size"] == (224, 224)


# Shapes


def test_shapes_are_the_same_each_time_and_differ_by_seed_split_and_index() -> None:
    first = Shapes("train", count=8, size=48)
    pictures = {
        source: [dataset[i]["image"].tobytes() for i in range(2)]
        for source, dataset in {
            "again": Shapes("train", count=8, size=48),
            "seed": Shapes("train", count=8, size=48, seed=1),
            "val": Shapes("val", count=8, size=48),
            "test": Shapes("test", count=8, size=48),
        }.items()
    }
    own = [first[i]["image"].tobytes() for i in range(2)]
    assert own == pictures.pop("again")
    assert len({picture for row in [own, *pictures.values()] for picture in row}) == 8


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [16, 61, 96])
def test_shapes_box_mask_and_label_say_the_same(size: int, difficulty: float) -> None:
    dataset = Shapes("train", count=40, size=size, difficulty=difficulty)
    check_contract(dataset)
    assert dataset.class_names == ["circle", "square", "triangle", "star"]
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample["image"].shape == (size, size, 3)
        mask = sample["mask"]
        assert mask.dtype == np.uint8
        assert mask.shape == (size, size)
        assert set(np.unique(mask)) == {0, 1 + sample["label"]}
        ys, xs = np.nonzero(mask)
        assert sample["bbox"].dtype == np.float32
        assert sample["bbox"].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_shapes_main_shape_is_never_covered() -> None:
    """Without difficulty a shape is of one color with noise of 5 levels: another one on it would stand out."""
    dataset = Shapes("train", count=60, difficulty=0)
    for index in range(len(dataset)):
        sample = dataset[index]
        inside = sample["image"][sample["mask"] > 0].astype(float)
        assert (np.abs(inside - np.median(inside, 0)).max(1) > 40).mean() < 0.001


def test_shapes_count_is_for_train_and_a_quarter_for_the_others() -> None:
    assert [len(Shapes(split, count=42)) for split in SPLITS] == [42, 10, 10]
    assert np.bincount(Shapes("train", count=42).labels()).tolist() == [11, 11, 10, 10]
    assert Shapes("val", count=42).labels().tolist() == [Shapes("val", count=42)[i]["label"] for i in range(10)]
    for index in (-1, 10):
        with pytest.raises(IndexError):
            Shapes("val", count=42)[index]


def test_shapes_get_harder_to_tell_from_their_background() -> None:
    def contrast(difficulty: float) -> float:
        gaps = []
        for sample in map(Shapes("train", count=60, difficulty=difficulty).__getitem__, range(60)):
            inside = sample["mask"] > 0
            gaps.append(np.abs(sample["image"][inside].mean(0) - sample["image"][~inside].mean(0)).max())
        return float(np.mean(gaps))

    assert contrast(0) > contrast(1) + 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "training"}, "'training' is not one of train, val, test"),
        ({"size": 15}, "size=15"),
        ({"count": 3}, "count=3"),
        ({"difficulty": 1.01}, r"difficulty=1\.01"),
        ({"difficulty": -0.01}, r"difficulty=-0\.01"),
    ],
)
def test_shapes_refuse_what_they_cannot_draw(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shapes(**{"split": "train", **arguments})


# Fingerprint


def test_the_fingerprint_tells_the_data_and_not_where_it_lies(class_folders: Path, tmp_path: Path) -> None:
    def fingerprint(root: Path, split: str = "train") -> str:
        return ImageFolder(split, str(root)).fingerprint()

    first = fingerprint(class_folders)
    assert fingerprint(class_folders) == first != fingerprint(class_folders, "val")
    copy = shutil.copytree(class_folders, tmp_path / "elsewhere" / "copy")
    assert fingerprint(copy) == first
    moved = next((copy / "train/red").iterdir())
    moved.rename(copy / "train/blue" / moved.name)
    assert fingerprint(copy) != first


def test_the_fingerprint_changes_with_a_label_and_with_a_class_name(write_table: Callable) -> None:
    def fingerprint(*rows: str, **arguments) -> str:
        path = str(write_table("path,label", *rows))
        return CsvTable("train", path, splits=Splits(val=0), **arguments).fingerprint()

    rows = plain_rows()
    prints = [
        fingerprint(*rows),
        fingerprint(*rows[:-1], "11.png,cat"),
        fingerprint(*rows[:-1]),
        fingerprint(*rows, class_names=["cat", "cow", "dog", "yak"]),
    ]
    assert len(set(prints)) == 4
    assert prints[0] == fingerprint(*rows)


def test_the_fingerprint_of_a_name_that_is_not_utf8_is_taken(one_folder: Path) -> None:
    before = ImageFolder("train", str(one_folder)).fingerprint()
    (one_folder / "ant" / "0.png").rename(one_folder / "ant" / "0\udcfc.png")
    assert ImageFolder("train", str(one_folder)).fingerprint() != before
