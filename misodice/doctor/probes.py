"""What is tried of each package, in a process of its own: `python -m misodice.doctor.probes NAME`.

A probe gives one line on what it found. It may raise whatever its package does, crash its process, or hang.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib.metadata import version

ABSENT = 3
"""Exit status: the last line of the output says what is not there."""
ENDPOINT_SECONDS = 5.0


class AbsentError(Exception):
    """Not there, rather than there and unusable."""


def probe_torch() -> str:
    import torch

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    for device in devices:
        torch.ones(1, device=device).sum().item()
    names = [torch.cuda.get_device_name(device) if device != "mps" else device for device in devices]
    unused = "" if names or torch.version.cuda is None else "; built for CUDA, but no GPU is usable"
    return f"{torch.__version__} on {', '.join(names) or f'CPU, threads: {torch.get_num_threads()}'}{unused}"


def probe_lightning() -> str:
    import lightning

    return str(lightning.__version__)


def probe_misodice() -> str:
    import misodice.experiment  # what every training command imports

    return misodice.__version__


def probe_jaxmarl() -> str:
    import jax

    from misodice.envs.smax.env import make_game

    make_game("zerg_5_vs_5")
    return f"{version('jaxmarl')}, jax {jax.__version__} on {jax.devices()[0].device_kind}"


def probe_mujoco() -> str:
    from misodice.envs import MaMuJoCo

    env = MaMuJoCo("Hopper", "3x1").make(1)
    env.reset(seed=0)
    return str(env.header.env["version"])


def probe_rendering() -> str:
    from misodice.envs import MaMuJoCo

    env = MaMuJoCo("Hopper", "3x1").make(1)
    env.reset(seed=0)
    height, width, _ = env.render()[0].shape
    return f"{width} x {height} pictures with MUJOCO_GL={os.environ.get('MUJOCO_GL')}"


def probe_smacv2() -> str:
    # As the worker of a game has it: newer protobuf reads the game's protocol in no other way.
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    from smacv2.env import StarCraft2Env  # noqa: F401 - that it can be imported is what is asked

    return version("smacv2")


def probe_game() -> str:
    from misodice.envs.starcraft2.tasks import find_game, game_folder

    if not game_folder().is_dir():
        raise AbsentError(f"no folder {game_folder()}")
    return f"{find_game()} in {game_folder()}"


def probe_maps() -> str:
    from misodice.envs.starcraft2.tasks import game_folder

    folder = game_folder() / "Maps" / "SMAC_Maps"
    names = sorted(path.stem for path in folder.glob("*.SC2Map"))
    if "32x32_flat" not in names:
        raise AbsentError(f"no 32x32_flat.SC2Map, the map of the SMACv2 tasks, in {folder}")
    return f"{len(names)} in {folder}"


def probe_engine() -> str:
    from misodice.envs import SMAC

    return SMAC().resolve().name


def probe_ray() -> str:
    import ray

    return str(ray.__version__)


def probe_onnx() -> str:
    import onnx
    import onnxruntime
    import onnxscript

    return f"onnx {onnx.__version__}, onnxscript {onnxscript.__version__}, onnxruntime {onnxruntime.__version__}"


def probe_llm() -> str:
    import jinja2  # noqa: F401 - that it can be imported is what is asked
    import openai

    return f"openai {openai.__version__}"


def probe_endpoint() -> str:
    """Asks for the list of models as the labeller would; the server's words stay out: they may hold the key."""
    import openai

    async def ask() -> int:
        client = openai.AsyncOpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "no-key", max_retries=0)
        # One limit on everything: the client's own begins anew with each part that arrives.
        async with asyncio.timeout(ENDPOINT_SECONDS):
            return len((await client.models.list()).data or [])

    try:
        return f"{asyncio.run(ask())} models"
    except openai.APIStatusError as error:
        what = {401: "does not accept the key", 403: "refuses access", 404: "has no list of models at this address"}
        raise RuntimeError(
            what.get(error.status_code, "answers with an error") + f" (HTTP {error.status_code})"
        ) from None
    except (TimeoutError, openai.APITimeoutError):
        raise RuntimeError(f"no answer in {ENDPOINT_SECONDS:.0f} s") from None
    except openai.APIConnectionError:
        raise RuntimeError("no connection") from None


PROBES: dict[str, Callable[[], str]] = {
    name.removeprefix("probe_"): function for name, function in list(globals().items()) if name.startswith("probe_")
}


def main(name: str) -> int:
    """Print one line; the exit status says what kind of line."""
    try:
        print(PROBES[name]())
    except AbsentError as error:
        print(error)
        return ABSENT
    except Exception as error:  # noqa: BLE001 - whatever a package raises is the finding
        kind = "" if type(error).__name__ in ("MisodiceError", "RuntimeError") else f"{type(error).__name__}: "
        print(kind + " ".join(str(error).split()))
        return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(status)  # past what packages do at exit, which may print, wait or crash
