"""Reading CIFAR-10: real structure, damaged files, and pickles that mean harm."""

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import cifar10
import numpy as np
import pytest

FOLDER = "cifar-10-batches-py"
NAMES = (*cifar10.TRAINING_BATCHES, cifar10.TEST_BATCH)
COUNT = 20


def content_of(number: int) -> dict[bytes, object]:
    generator = np.random.default_rng(number)
    return {
        b"batch_label": f"batch {number}".encode(),
        b"labels": [(number + i) % 10 for i in range(COUNT)],
        b"data": generator.integers(0, 256, (COUNT, 3072), np.uint8),
        b"filenames": [f"{i}.png".encode() for i in range(COUNT)],
    }


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


@pytest.fixture
def files() -> dict[str, bytes]:
    return {name: pickled(content_of(i)) for i, name in enumerate(NAMES)}


def write_folder(parent: Path, files: dict[str, bytes]) -> Path:
    folder = parent / FOLDER
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "readme.html").write_text("not a batch")
    return folder


def write_archive(parent: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    path = parent / "cifar-10-python.tar.gz"
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name if "/" in name else f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def refused(path: Path, folder: Path, *words: str) -> None:
    before = snapshot(folder)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        cifar10.load(path, COUNT)
    for word in words:
        assert word in str(caught.value)
    assert snapshot(folder) == before


@pytest.mark.parametrize("kind", ["archive", "plain tar", "folder", "folder above"])
def test_images_and_labels_come_in_order(kind, files, tmp_path):
    if kind == "folder":
        path = write_folder(tmp_path, files)
    elif kind == "folder above":
        path = write_folder(tmp_path, files).parent
    else:
        path = write_archive(tmp_path, files, "w:gz" if kind == "archive" else "w")
    before = snapshot(tmp_path)
    images, labels, test_images, test_labels = cifar10.load(path, COUNT)
    assert snapshot(tmp_path) == before
    assert images.shape == (5 * COUNT, 32, 32, 3)
    assert images.dtype == np.uint8
    for i in range(6):
        expected = content_of(i)
        part = slice(COUNT * i, COUNT * (i + 1))
        found = images[part] if i < 5 else test_images
        # A row holds the red plane, the green and the blue, row by row.
        planes = expected[b"data"].reshape(COUNT, 3, 32, 32)
        for channel in range(3):
            np.testing.assert_array_equal(found[..., channel], planes[:, channel])
        found_labels = labels[part] if i < 5 else test_labels
        np.testing.assert_array_equal(found_labels, expected[b"labels"])


def test_missing_path_is_refused(tmp_path):
    refused(tmp_path / "none.tar.gz", tmp_path, "none.tar.gz", "doesn't exist")


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_missing_batches_are_named(write, files, tmp_path):
    del files["data_batch_3"], files["test_batch"]
    refused(write(tmp_path, files), tmp_path, "lacks data_batch_3, test_batch")


def test_empty_folder_is_refused(tmp_path):
    refused(tmp_path, tmp_path, "lacks data_batch_1", "cifar-10-python.tar.gz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no archive" * 50,
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4] + b"\0\0\0\0",
        lambda content: content[:1000] + b"\xff" * 100 + content[1100:],
        lambda content: gzip.compress(b"no tar inside" * 100),
        lambda content: b"",
    ],
    ids=["text", "cut", "checksum", "overwritten", "no tar", "empty"],
)
def test_damaged_archive_is_refused(damage, files, tmp_path):
    path = write_archive(tmp_path, files)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, tmp_path, str(path))


def with_content(**changes: object) -> bytes:
    content = content_of(2)
    for key, value in changes.items():
        if value is None:
            del content[key.encode()]
        else:
            content[key.encode()] = value
    return pickled(content)


BAD_BATCHES = {
    "cut": (pickled(content_of(2))[:500], "damaged"),
    "no pickle": (b"text", "damaged"),
    "a list": (pickled([1, 2]), "list, not a dict"),
    "no labels": (with_content(labels=None), "'labels'"),
    "CIFAR-100": (with_content(labels=None, fine_labels=[1] * COUNT), "'labels'"),
    "label 10": (with_content(labels=[10] * COUNT), "the label 10"),
    "negative label": (with_content(labels=[-1] * COUNT), "the label -1"),
    "label as text": (with_content(labels=["1"] * COUNT), "the label"),
    "few labels": (with_content(labels=[1]), f"list of {COUNT}"),
    "no array": (with_content(data=b"pixels"), "not an array"),
    "narrow": (with_content(data=np.zeros((COUNT, 30), np.uint8)), "3072"),
    "float": (with_content(data=np.zeros((COUNT, 3072), np.float32)), "uint8"),
    "few images": (
        with_content(data=np.zeros((3, 3072), np.uint8), labels=[1, 2, 3]),
        "holds 3 images",
    ),
}


@pytest.mark.parametrize(("batch", "word"), BAD_BATCHES.values(), ids=BAD_BATCHES)
@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_bad_batch_is_named(write, batch, word, files, tmp_path):
    files["data_batch_3"] = batch
    refused(write(tmp_path, files), tmp_path, "data_batch_3", word)


class Harm:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Harm(__import__("os").system, f"touch '{path}'"),
        lambda path: Harm(eval, f"open({str(path)!r}, 'w')"),
        lambda path: Harm(open, str(path), "w"),
        lambda path: Harm(np.save, str(path), np.zeros(1)),
    ],
    ids=["os.system", "eval", "open", "numpy.save"],
)
def test_pickle_that_means_harm_runs_nothing(make, files, tmp_path):
    target = tmp_path / "harm"
    files["data_batch_3"] = with_content(labels=make(target))
    refused(write_folder(tmp_path, files), tmp_path, "data_batch_3", "asks for")
    assert not target.exists()


def test_archive_with_paths_outside_writes_nothing(files, tmp_path):
    files["../../outside"] = b"harm"
    files["/tmp/outside"] = b"harm"
    path = write_archive(tmp_path, files)
    before = snapshot(tmp_path)
    cifar10.load(path, COUNT)
    assert snapshot(tmp_path) == before
    assert not (tmp_path.parent / "outside").exists()


def test_links_in_an_archive_are_not_followed(files, tmp_path):
    del files["test_batch"]
    secret = tmp_path / "secret"
    secret.write_bytes(pickled(content_of(5)))
    path = write_archive(tmp_path, files, "w")
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(f"{FOLDER}/test_batch")
        member.type, member.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(member)
    refused(path, tmp_path, "lacks test_batch")
