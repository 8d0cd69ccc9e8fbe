"""A film of a policy at play."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.console import Console

from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine
from misodice.errors import MisodiceError
from misodice.rollout.actors import ActingPolicy, PolicyActor
from misodice.runs.files import whole

MAX_FPS = 30
SECONDS = 10
"""Whole episodes are filmed until there is that much: a body's one, or several short battles."""


def film(policy: ActingPolicy, engine: Engine, path: Path, seed: int, console: Console) -> None:
    """Write greedy episodes as an .mp4, each picture with its step and the return so far.

    Args:
        policy: who acts for the team.
        engine: where.
        path: file to write; nothing appears there before it is whole.
        seed: of the first episode; those that follow have the next ones.
        console: gets one line at the end.

    Raises:
        MisodiceError: the engine cannot be drawn, a package is missing, or `path` is no .mp4.
    """
    if path.suffix != ".mp4":
        raise MisodiceError(f"video: {path} does not end in .mp4, the one format that is written")
    for package, name in (("imageio_ffmpeg", "imageio-ffmpeg"), ("PIL", "pillow")):
        if importlib.util.find_spec(package) is None:
            raise MisodiceError(f"--video needs {name}: pip install 'misodice[video]'")
    import imageio_ffmpeg

    env = engine.make(1)
    env.reset(seed=seed)
    height, width, _ = env.render()[0].shape  # before anything is written, so that what cannot be drawn leaves nothing
    fps = env.metadata["render_fps"]
    every = -(-fps // MAX_FPS)
    returns: list[float] = []
    frames = 0
    policy.eval()
    with closing(env), whole(path, ".mp4") as temporary, console.status("filming"):
        pictures = imageio_ffmpeg.write_frames(str(temporary), (width, height), fps=fps / every, macro_block_size=2)
        with closing(pictures):
            pictures.send(None)
            while frames < SECONDS * fps / every:
                total = 0.0
                for step, reward, ended in _play(policy, env, seed + len(returns)):
                    total += reward
                    if step % every == 0 or ended:
                        pictures.send(_caption(env.render()[0], f"step {step}   return {total:.2f}"))
                        frames += 1
                returns.append(total)
    shown = ", ".join(f"{value:.2f}" for value in returns)
    console.print(f"written: {path} ({frames} pictures; returns {shown})", highlight=False)


def _play(policy: ActingPolicy, env: TeamEnv, seed: int) -> Iterator[tuple[int, float, bool]]:
    """(step, reward, whether it has ended) of one episode, from step 0 on."""
    observation, _ = env.reset(seed=seed)
    actor = PolicyActor(policy)
    yield 0, 0.0, False
    step, ended = 0, False
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(actor.act(observation))
        step, ended = step + 1, bool(terminated[0] | truncated[0])
        yield step, float(reward[0]), ended


def _caption(picture: np.ndarray, text: str) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    font = ImageFont.load_default(16)
    ImageDraw.Draw(image).text((8, 6), text, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return np.asarray(image)
