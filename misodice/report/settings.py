"""What tells one run's settings from another's: two runs are averaged only where all of it is equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from misodice.runs.differences import OUTSIDE, Options, changes_nothing

ROW = ("data.k", "data.ranking", "value.alpha", "labels.")
"""Options that make a row of a table: methods stand side by side only where these are equal."""
TASK = ("data.digest", "env.")
"""Options that belong to the task."""
LABELS = (
    "data.ranking",
    "labels.labeller.class_path",
    "labels.labeller.flip",
    "labels.labeller.model",
)
"""Options that the name of the labels tells."""
NAMES = {"data.k": "K", "value.alpha": "α", "data.digest": "data", **dict.fromkeys(LABELS, "labels")}


def counts(name: str) -> bool:
    """Whether an option of this dotted name may change a result.

    Names, paths, and how or where something is shown do not. `env` does not either: the engine itself tells it better.
    """
    return not changes_nothing(name) and name not in (*OUTSIDE, "seed_everything") and name.partition(".")[0] != "env"


def flatten(config: Options, env: Options, data: Options) -> dict[str, Any]:
    """The options of config.yaml that may change a result, with what the run found for `env` and the data.

    Seeds are no setting; the episodes file is known by its content.

    Args:
        config: by dotted name (see `dotted`).
        env: engine, task and options that the rollouts were played on.
        data: "digest" and "path" of the episodes file.
    """
    options = {name: _plain(value) for name, value in config.items() if counts(name) and not name.endswith("seed")}
    options |= {f"env.{key}": _plain(value) for key, value in env.items() if key not in ("engine", "task", "version")}
    return options | {"data.digest": data["digest"], "data.name": Path(data["path"] or "made by fit").stem}


def _plain(value: Any) -> Any:
    """Lists, of weightings for example, as text, so that options can be compared."""
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else value


def _words(value: Any) -> Any:
    """A list of classes as it is read: "ByEpisode, TopP(top_p=0.8)"."""
    if isinstance(value, str) and value.startswith("["):
        return ", ".join(str(_words(each)) for each in json.loads(value)) or "none"
    if isinstance(value, dict) and "class_path" in value:
        arguments = ", ".join(f"{name}={_words(inner)}" for name, inner in (value.get("init_args") or {}).items())
        return str(value["class_path"]).rpartition(".")[2] + (f"({arguments})" if arguments else "")
    return value


def labels_name(options: Options) -> str:
    """Who says what is expert, in few words: "rule", "llm:gpt-4o", "true source"…"""
    ranking = options["data.ranking"]
    if ranking != "preference":
        return f"true {'source' if ranking == 'oracle' else ranking}"
    name = str(options["labels.labeller.class_path"]).rpartition(".")[2]
    model = options.get("labels.labeller.model")
    flip = options.get("labels.labeller.flip")
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
    replaced = {name.removesuffix("class_path") for name in names if name.endswith(".class_path")}
    result: dict[str, Any] = {}
    for name in sorted(names):
        if name in LABELS:
            result["labels"] = labels_name(options)
        elif name == "data.digest":
            result["data"] = options["data.name"]
        elif not any(name.startswith(start) and name != f"{start}class_path" for start in replaced):
            value = options.get(name)
            short = str(value).rpartition(".")[2] if name.endswith("class_path") else _words(value)
            result[NAMES.get(name, name)] = short
    return result
