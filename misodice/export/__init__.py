"""`misodice export`: one agent's policy as a file that acts without misodice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from misodice import __version__
from misodice.data.outputs import check_output
from misodice.errors import MisodiceError
from misodice.export.agent import Agent
from misodice.export.check import TOLERANCE, Difference, Samples, compare, random_samples
from misodice.export.formats import SUFFIX, Format, read, write
from misodice.modules.heads import ActionHead, CategoricalHead, GaussianHead
from misodice.modules.policy import Policy
from misodice.runs.files import file_digest, whole
from misodice.runs.parts import class_path

TEAMS = 1000
"""Random joint observations that an export is held against the original on."""


def export(
    ckpt_path: Path, format: Format = "onnx", output: Path | None = None, overwrite: bool = False
) -> tuple[Path, Difference]:
    """Write one agent's policy, and hold what was written against the original.

    Args:
        ckpt_path: checkpoint of a policy.
        format: "onnx", "torchscript" or "pt2".
        output: file to write; None is `ckpt_path` with the format's suffix.
        overwrite: whether a file that is there under the name of `output` is replaced.

    Returns:
        The file, and how far it is from the original.

    Raises:
        MisodiceError: no policy's checkpoint, an unknown format, a missing package, a file that cannot be written, a
            policy that acts otherwise than its head's greedy action, or an export that differs from the original by
            more than `TOLERANCE`; nothing is left of it.
    """
    if format not in SUFFIX:
        raise MisodiceError(f"format: found {format!r}, expected one of {', '.join(SUFFIX)}")
    policy = Policy.load(ckpt_path)
    path = output or ckpt_path.with_suffix(SUFFIX[format])
    # Beside its checkpoint and under its name, a file is an earlier export.
    check_output(path, overwrite or output is None)
    agent = Agent(policy)
    samples = random_samples(policy, agent, TEAMS)
    _check_one_agent(policy, agent, samples)
    # Copies, since a .pt2 keeps its example: a view would bring all samples into the file.
    example = {name: values[:3].clone() for name, values in samples.inputs.items()}
    content = write(agent, format, example, describe(policy, ckpt_path))
    with whole(path, SUFFIX[format]) as temporary:
        temporary.write_bytes(content)
        difference = compare(read(temporary, format), agent, samples)
        if not difference.tolerable:
            raise MisodiceError(
                f"{path}: not written, because the {format} export is not the policy: on {difference.rows} random "
                f"inputs outputs differ by up to {difference.greatest:.2g} (tolerated: {TOLERANCE:g}) and "
                f"{difference.equal_actions:.2%} of greedy actions are equal; try another --format, or the versions in "
                "constraints.txt"
            )
    return path, difference


def _check_one_agent(policy: Policy, agent: Agent, samples: Samples) -> None:
    """Whether one agent asked alone does what it does in its team: a user's own classes may not."""
    with torch.no_grad():
        difference = compare(lambda inputs: agent(**inputs), agent, samples)
    if not difference.tolerable:
        raise MisodiceError(
            f"{class_path(type(policy))} with {class_path(type(policy.local))}: one agent asked alone does not act as "
            f"in its team ({difference.equal_actions:.2%} of greedy actions are equal); an exported agent is the "
            "network's forward(inputs, agent) of its own standardised observation, and the head's greedy action"
        )


def describe(policy: Policy, ckpt_path: Path) -> dict[str, str]:
    """What is kept beside the network; numbers, lists and objects as JSON."""
    spec = policy.spec
    assert spec is not None
    values: dict[str, Any] = {
        "task": spec.env.get("task", "unknown"),
        "engine": spec.env.get("engine", "unknown"),
        "env": spec.env,
        "n_agents": spec.n_agents,
        "obs_dim": spec.obs_dim,
        "n_actions": spec.n_actions,
        "distribution": _distribution(policy.head),
        "action_scale": spec.action_scale,
        "obs_features": spec.obs_features,
        "checkpoint": file_digest(ckpt_path),
        "fingerprint": torch.load(ckpt_path, map_location="cpu", weights_only=True).get("fingerprint", ""),
        "misodice_version": __version__,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _distribution(head: ActionHead) -> str:
    """Of the actions: one word for the heads of misodice, the class path for a user's own."""
    if type(head) is CategoricalHead:
        return "categorical"
    return head.kind if type(head) is GaussianHead else class_path(type(head))
