"""`info`: the picture of the returns, and what cannot be drawn."""

import sys

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.info import bin_edges
from tests.helpers.own_file import own_file


def returns(*values):
    def edit(fields, attributes):
        fields["rewards"], fields["episode/return"] = None, np.array(values, np.float32)

    return edit


@pytest.mark.parametrize(
    "values",
    [
        (16777218.0, 16777216.0, 16777216.0, 16777216.0),
        (5.0,) * 4,
        (0.0,) * 4,
        (-3e38, 3e38, 0.0, 1.0),
        (1e-44, 0.0, 0.0, 0.0),
        (3.4e38,) * 4,
    ],
)
def test_returns_that_are_nearly_equal_are_drawn(tmp_path, capsys, values):
    path = own_file(tmp_path / "own.h5", returns(*values))
    assert main(["info", "--path", str(path), "--plot", str(tmp_path / "new" / "folder" / "h.png")]) == 0
    assert (tmp_path / "new" / "folder" / "h.png").read_bytes().startswith(b"\x89PNG")
    assert f"written: {tmp_path / 'new' / 'folder' / 'h.png'}" in capsys.readouterr().out
    edges = bin_edges(np.array(values, np.float32))
    assert (np.diff(edges) > 0).all()
    counts, _ = np.histogram(np.array(values, np.float32).astype(float), edges)
    assert counts.sum() == 4


@pytest.mark.parametrize(
    ("plot", "words"),
    [
        ("h.xyz", ["'.xyz'", "png", "svg"]),
        ("h", ["suffix ''", "png"]),
        (".", ["png"]),
        ("own.h5/h.png", ["h.png: cannot be written"]),
        ("there.png", ["there.png: exists already", "--overwrite true"]),
        ("folder.png", ["is a folder"]),
    ],
)
def test_a_picture_that_cannot_be_written_is_told_before_the_table(tmp_path, capsys, monkeypatch, plot, words):
    monkeypatch.chdir(tmp_path)
    own_file(tmp_path / "own.h5")
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    assert main(["info", "--path", "own.h5", "--plot", plot]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert all(word in printed.err for word in words), printed.err
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert main(["info", "--path", "own.h5", "--plot", "there.png", "--overwrite", "true"]) == 0
    assert (tmp_path / "there.png").read_bytes().startswith(b"\x89PNG")


def test_without_returns_or_matplotlib(tmp_path, capsys, monkeypatch):
    def edit(fields, attributes):
        fields["rewards"] = fields["episode/return"] = None

    path = own_file(tmp_path / "own.h5", edit)
    assert main(["info", "--path", str(path), "--plot", str(tmp_path / "h.png")]) == 2
    assert "field 'episode/return' is missing, which --plot shows" in capsys.readouterr().err
    assert main(["info", "--path", str(path)]) == 0
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["info", "--path", str(path), "--plot", str(tmp_path / "h.png")]) == 2
    assert "pip install 'misodice[plot]'" in capsys.readouterr().err


def test_names_are_printed_and_drawn_as_they_stand(tmp_path, capsys):
    def edit(fields, attributes):
        fields["episode/source"] = np.array(["[/red]", "_poor", "$x_$", "[bold]a"], object)
        attributes["env"] = '{"task": "$[/b]_{"}'

    path = own_file(tmp_path / "[x].h5", edit)
    assert main(["info", "--path", str(path), "--plot", str(tmp_path / "h.svg")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("[/red]", "[bold]a", "$[/b]_{", "[x].h5"))
