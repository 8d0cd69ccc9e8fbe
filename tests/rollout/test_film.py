"""`misodice test --video`, with a player in the policy's place; the documented command films a trained one."""

import ctypes.util
import io

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from rich.console import Console

from misodice.envs import SMAX, MaMuJoCo
from misodice.envs.smax.draw import draw_units
from misodice.errors import MisodiceError
from misodice.rollout import film as video
from misodice.rollout.film import film
from tests.helpers.tiny_engine import Tiny


class Player:
    """Takes the last available action, or pushes every joint half."""

    device = "cpu"

    def eval(self):
        return self

    def act(self, obs, available):
        if available is None:
            return torch.full((*obs.shape[:2], 1), 0.5)
        return available.shape[-1] - 1 - available.flip(-1).int().argmax(-1)


def frames(path) -> tuple[dict, np.ndarray]:
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    return about, np.stack([np.frombuffer(frame, np.uint8) for frame in reader])


@pytest.mark.slow
def test_battles_are_filmed_whole_and_alike_for_one_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SECONDS", 0.5)
    printed = io.StringIO()
    for name in ("a.mp4", "b.mp4"):
        film(Player(), SMAX("3m"), tmp_path / name, 3, Console(file=printed, soft_wrap=True))
    about, pictures = frames(tmp_path / "a.mp4")
    assert (about["size"], about["fps"]) == ((480, 480), 8)
    assert f"({len(pictures)} pictures; returns " in printed.getvalue()
    assert (pictures[0] != pictures[-1]).any()
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4"}
    assert np.array_equal(pictures, frames(tmp_path / "b.mp4")[1])


@pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="needs libegl1")
def test_a_body_is_filmed_at_no_more_than_30_pictures_a_second(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SECONDS", 0.1)
    film(Player(), MaMuJoCo("Hopper", "3x1"), tmp_path / "hopper.mp4", 0, Console(quiet=True))
    about, pictures = frames(tmp_path / "hopper.mp4")
    assert about["fps"] == 25  # of 125 steps a second
    assert len(pictures) >= 3
    assert (pictures[0] != pictures[-1]).any()


def test_what_cannot_be_filmed_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(MisodiceError, match=r"does not end in \.mp4"):
        film(Player(), SMAX("3m"), tmp_path / "a.gif", 0, Console())
    monkeypatch.setenv("MUJOCO_GL", "none_such")
    with pytest.raises(MisodiceError, match=r"MUJOCO_GL=none_such .*libosmesa6"):
        film(Player(), MaMuJoCo("Hopper", "3x1"), tmp_path / "a.mp4", 0, Console())
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MisodiceError, match=r"imageio-ffmpeg: pip install 'misodice\[video\]'"):
        film(Player(), SMAX("3m"), tmp_path / "a.mp4", 0, Console())
    assert not list(tmp_path.iterdir())


def test_an_engine_without_pictures_is_said(tmp_path):
    with pytest.raises(MisodiceError, match="engine tiny is not drawn"):
        film(Player(), Tiny(), tmp_path / "a.mp4", 0, Console())
    assert not list(tmp_path.iterdir())


def test_only_the_living_are_drawn_in_their_places():
    picture = draw_units(
        size=(32, 32),
        position=np.array([[8.0, 24.0], [24.0, 8.0], [16.0, 16.0]]),
        radius=np.full(3, 1.0),
        health=np.array([1.0, 0.25, 0.0]),
        name=["marine", "marine", "marine"],
        n_allies=1,
    )
    assert picture.shape == (480, 480, 3)
    red, _, blue = picture[120, 120].astype(int)  # a quarter from the left and, y up, from the top: the ally
    assert blue > red
    red, _, blue = picture[360, 360].astype(int)
    assert red > blue
    assert np.ptp(picture[240, 240].astype(int)) < 10  # the ground where the dead one lay
