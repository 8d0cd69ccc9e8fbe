"""The formats: how an agent is written, and how a file is read back to be tried."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from misodice.errors import MisodiceError
from misodice.export.agent import Agent

Format = Literal["onnx", "torchscript", "pt2"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
METADATA_FILE = "metadata.json"
"""Inside a torchscript or pt2 archive: what ONNX keeps in its metadata_props."""

Inputs = dict[str, Tensor]
Runner = Callable[[Inputs], tuple[Tensor, ...]]
"""A loaded export: inputs by name to outputs in their order."""


def write(agent: Agent, format: Format, example: Inputs, metadata: dict[str, str]) -> bytes:
    """The content of an exported file.

    Args:
        agent: what is exported.
        format: of the file.
        example: inputs that the network is followed with; any number of rows may be asked later.
        metadata: kept beside the network.

    Raises:
        MisodiceError: a package is missing.
    """
    if format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if importlib.util.find_spec(package) is None:
                raise MisodiceError(f"--format onnx needs {package}: pip install 'misodice[export]'")
    with _quiet():
        return {"onnx": _onnx, "torchscript": _torchscript, "pt2": _pt2}[format](agent, example, metadata)


def read(path: Path, format: Format) -> Runner:
    """Load an exported file the way its users do: onnxruntime for ONNX, torch alone for the others."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda inputs: tuple(
            torch.from_numpy(values) for values in session.run(None, {name: x.numpy() for name, x in inputs.items()})
        )
    with _quiet():
        module: nn.Module = torch.jit.load(str(path)) if format == "torchscript" else torch.export.load(path).module()  # type: ignore[no-untyped-call]

    def run(inputs: Inputs) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs: tuple[Tensor, ...] = module(**inputs)
        return outputs

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporters warn of their own code's deprecations, and log which of torch's other packages are absent."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _program(agent: Agent, example: Inputs) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows")
    program = torch.export.export(agent, (), example, dynamic_shapes={name: {0: rows} for name in example})
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # holds paths of this machine
    return program


def _onnx(agent: Agent, example: Inputs, metadata: dict[str, str]) -> bytes:
    program = torch.onnx.export(_program(agent, example), output_names=agent.outputs, dynamo=True, verbose=False)
    assert program is not None
    program.model.metadata_props.update(metadata)
    for node in program.model.graph:
        node.metadata_props.clear()  # torch's notes on where each came from
    content: bytes = program.model_proto.SerializeToString()
    return content


def _torchscript(agent: Agent, example: Inputs, metadata: dict[str, str]) -> bytes:
    # Deprecated by torch in favour of pt2, and still the one format that its C++ library loads in every version.
    buffer = io.BytesIO()
    with torch.no_grad():
        traced = torch.jit.trace(agent, example_kwarg_inputs=example)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, buffer, _extra_files={METADATA_FILE: json.dumps(metadata)})
    return buffer.getvalue()


def _pt2(agent: Agent, example: Inputs, metadata: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_program(agent, example), buffer, extra_files={METADATA_FILE: json.dumps(metadata)})
    return buffer.getvalue()
