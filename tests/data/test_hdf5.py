"""What is no file that can be read is told as what it is."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError
from tests.helpers.own_file import own_fields, own_file


def link(target):
    def change(file: h5py.File) -> None:
        del file["obs"]
        file["obs"] = target

    return change


def group(file: h5py.File) -> None:
    del file["state"]
    file["state/position"] = np.zeros(3)


def dataset_for_a_group(file: h5py.File) -> None:
    del file["episode"]
    file["episode"] = np.array([3, 1, 4, 2])


def empty(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"] = h5py.Empty("f4")


def never_filled(file: h5py.File) -> None:
    del file["obs"]
    file.create_dataset("obs", (14, 2, 3), "f4")


def packed_by_an_unknown_filter(file: h5py.File) -> None:
    del file["state"]
    packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    packed.set_chunk((14, 5))
    packed.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)  # Zstandard
    space = h5py.h5s.create_simple((14, 5))
    dataset = h5py.h5d.create(file.id, b"state", h5py.h5t.NATIVE_FLOAT, space, packed)
    dataset.write_direct_chunk((0, 0), b"packed", filter_mask=0)


CHANGES = [
    (group, ["'state'", "a group of ['position']", "a dataset"]),
    (dataset_for_a_group, ["'episode'", "found a dataset", "the group of 'episode/length'"]),
    (link(h5py.SoftLink("/nowhere")), ["'obs'", "link to '/nowhere'", "not there"]),
    (link(h5py.ExternalLink("nowhere.h5", "/obs")), ["'obs'", "another file (nowhere.h5)"]),
    (link(np.dtype("f4")), ["'obs'", "a type", "a dataset"]),
    (empty, ["'rewards'", "an empty dataspace"]),
    (never_filled, ["'obs'", "never filled"]),
    (packed_by_an_unknown_filter, ["state", "filter 32015", "h5repack"]),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_stands_in_place_of_a_dataset(tmp_path, change, words):
    path = own_file(tmp_path / "own.h5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(MisodiceError) as caught:
        Episodes.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [str(path), *words]), message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"obs,state\n1,2\n"), ["not a readable HDF5", "of another kind"]),
        (lambda path: path.write_bytes(b""), ["not a readable HDF5", "empty"]),
        (
            lambda path: path.write_bytes(own_file(path).read_bytes()[:3000]),
            ["not a readable HDF5", "cut off after 3000"],
        ),
        (lambda path: path.mkdir(), ["is a folder"]),
        (lambda path: os.mkfifo(path), ["a pipe"]),
        (lambda path: path.symlink_to(path.with_name("nowhere")), ["no such file"]),
        (lambda path: path.symlink_to(path), ["cannot be read"]),
        (lambda path: None, ["no such file", "misodice collect"]),
    ],
)
def test_what_is_no_episodes_file(tmp_path, capsys, make, words):
    path = tmp_path / "bad.h5"
    make(path)
    assert main(["info", "--path", str(path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(word in message for word in [str(path), *words]), message


def test_a_file_that_another_program_writes_is_told_as_that(tmp_path, capsys):
    path = own_file(tmp_path / "own.h5")
    code = f"import h5py, sys; file = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"open\n"
        for command in (["info", "--path", str(path)], ["convert", "--input", str(path), "--output", "x.h5"]):
            assert main(command) == 2
            message = capsys.readouterr().err
            assert f"{path}: is open for writing in another program; close it there" in message
            assert "truncated" not in message
        writer.stdin.close()
    assert main(["info", "--path", str(path)]) == 0


def test_compressed_and_linked_fields_are_read(tmp_path):
    path = own_file(tmp_path / "own.h5")
    with h5py.File(path, "a") as file:
        del file["obs"], file["state"]
        file.create_dataset("there", data=own_fields()["obs"], compression="gzip", shuffle=True)
        file["obs"] = h5py.SoftLink("/there")
        file["state"] = own_fields()["state"].astype("f8")
    episodes = Episodes.read(path)
    np.testing.assert_array_equal(episodes.obs, own_fields()["obs"])
    np.testing.assert_array_equal(episodes.state, own_fields()["state"])
