"""What tells one run's settings from another's: two runs are averaged only where all of it is equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from misodice.pipeline.pipeline import SHOWN

Options = Mapping[str, Any]

ROW = ("data.k", "data.ranking", "value.alpha", "labels.")
"""Options that make a row of a table: methods stand side by side only where these are equal."""
TASK = ("data.digest", "env.")
"""Options that belong to the task."""
LABELS = (
    "data.ranking",
    "labels.labeller.class_path",
    "labels.labeller.init_args.flip",
    "labels.labeller.init_args.model",
)
"""Options that the name of the labels tells."""
NAMES = {"data.k": "K", "value.alpha": "α", "data.digest": "data", **dict.fromkeys(LABELS, "labels")}


def flatten(config: Options, env: Options, data: Options) -> dict[str, Any]:
    """The options of config.yaml that may change a result, with what the run found for `env` and the data.

    Seeds, paths, and how or where something is shown are no setting; the episodes file is known by its content.

    Args:
        config: by dotted name.
        env: engine, task and options that the rollouts were played on.
        data: "digest" and "path" of the episodes file.
    """

    def counts(name: str) -> bool:
        outside = (
            "run_dir",
            "method",
            "ckpt_path",
            "weights_only",
            "config",
            "data.path",
            "labels.path",
            "shared_stages",
        )
        part = name.removeprefix("trainer.") if name.startswith("trainer.") else ""
        return not (
            name in outside or name.startswith("env.") or name.endswith(("seed", "seed_everything"))
        ) and not part.startswith(SHOWN)

    options = {name: _plain(value) for name, value in config.items() if counts(name)}
    options |= {f"env.{key}": _plain(value) for key, value in env.items() if key not in ("engine", "task", "version")}
    return options | {"data.digest": data["digest"], "data.name": Path(data["path"] or "made by fit").stem}


def _plain(value: Any) -> Any:
    """Lists, of callbacks for example, as text, so that options can be compared and shown."""
    return json.dumps(value, default=str) if isinstance(value, list) else value


def labels_name(options: Options) -> str:
    """Who says what is expert, in few words: "rule", "llm:gpt-4o", "true source"…"""
    ranking = options["data.ranking"]
    if ranking != "preference":
        return f"true {'source' if ranking == 'oracle' else ranking}"
    name = str(options["labels.labeller.class_path"]).rpartition(".")[2]
    model = options.get("labels.labeller.init_args.model")
    flip = options.get("labels.labeller.init_args.flip")
    text = {"RuleLabeller": "rule", "OracleLabeller": "oracle", "LLMLabeller": f"llm:{model}"}.get(name, name)
    return f"{text}, {flip:.0%} flipped" if flip else text


def difference(options: Options, base: Options) -> dict[str, Any]:
    """The options that differ from `base`'s, with their values; None stands for an option that is not there."""
    names = [name for name in {**base, **options} if name != "data.name"]
    return {name: options.get(name) for name in names if options.get(name) != base.get(name)}


def shown(options: Options, names: set[str]) -> dict[str, Any]:
    """How the differing options `names` are written: {"K": 50}, {"labels": "rule, 10% flipped"}, {"value.mixer…": …}.

    Where a class differs, its arguments are not listed: they differ for that reason.
    """
    classes = tuple(name.removesuffix("class_path") + "init_args" for name in names if name.endswith("class_path"))
    result: dict[str, Any] = {}
    for name in sorted(names):
        if name in LABELS:
            result["labels"] = labels_name(options)
        elif name == "data.digest":
            result["data"] = options["data.name"]
        elif not (classes and name.startswith(classes)):
            value = options.get(name)
            result[NAMES.get(name, name)] = str(value).rpartition(".")[2] if name.endswith("class_path") else value
    return result
