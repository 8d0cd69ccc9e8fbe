"""Parts that a user can replace: each remembers its constructor's arguments and is named by a class path."""

from __future__ import annotations

import ast
import copyreg
import hashlib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from misodice.errors import MisodiceError
from misodice.runs.limits import check_limits, limits_of

P = TypeVar("P", bound="Part")


class Part:
    """Base class of everything that a user can replace, by a class path in a config or by an object in Python.

    The constructor's arguments are remembered. So a subclass writes an ordinary `__init__`, and its options stand in
    config.yaml, in checkpoints and in fingerprints without further work.
    """

    shared_options: ClassVar[frozenset[str]] = frozenset()
    """Options that mean the same in all subclasses: they stay when a config names another of these classes."""
    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # nn.Module has its own __setattr__, which works only after its constructor.
        arguments = _bind(cls, args, kwargs)
        _check_words(cls, arguments)
        object.__setattr__(self, "_arguments", arguments)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._arguments.items())})"


def constructors(cls: type) -> Iterator[tuple[type, inspect.Parameter]]:
    """What the constructor takes, each parameter with the class that declares it.

    `**options` stands for the parameters of the base class. A name may come twice: the first counts.
    """
    for each in cls.__mro__:
        if "__init__" not in vars(each) or each is object:
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]  # type: ignore[misc]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                yield each, parameter
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """What the constructor takes, by name."""
    found: dict[str, inspect.Parameter] = {}
    for _, parameter in constructors(cls):
        found.setdefault(parameter.name, parameter)
    return found


def same_option(name: str, old: type, new: type) -> bool:
    """Whether an option of class `old` is the same option of class `new`: one constructor declares it for both.

    So an option of a class does not become one of another class that happens to use the same name.
    """
    declared: list[type | None] = []
    for cls in (old, new):
        declared.append(next((by for by, parameter in constructors(cls) if parameter.name == name), None))
    if None in declared:
        return False
    common = (each for each in old.__mro__ if each in new.__mro__)
    return declared[0] is declared[1] or any(name in vars(each).get("shared_options", ()) for each in common)


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    parameters = parameters_of(cls)
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    # Too many or too few arguments are for the constructor to refuse; copying an object gives none at all.
    return defaults | dict(zip(parameters, args, strict=False)) | kwargs


def _check_words(cls: type, arguments: dict[str, Any]) -> None:
    """Refuse a word that is none of those in `Literal[…]`: Python itself does not look at annotations."""
    for name, parameter in parameters_of(cls).items():
        words = re.fullmatch(r"Literal\[(.*)\]", str(parameter.annotation))
        if words and name in arguments and arguments[name] not in ast.literal_eval(f"({words[1]},)"):
            raise MisodiceError(f"{cls.__name__}: {name} is {arguments[name]!r}, expected one of {words[1]}")


def check_kind(name: str, given: Any, kind: Any) -> None:
    """Raise a MisodiceError unless `given` is an object of class `kind`."""
    if not isinstance(given, kind):
        wanted = getattr(kind, "__name__", "Engine")
        called = f"; call it: {given.__name__}(…)" if isinstance(given, type) else ""
        raise MisodiceError(f"{name}: found {given!r}, expected an object of the class {wanted}{called}")


def factory_of(factory: Any, base: type, option: str) -> Any:
    """`factory`, which makes objects of class `base` later: a class, or a partial or function that gives one.

    Args:
        factory: class, partial or function.
        base: what it must make.
        option: its name, for messages.

    Raises:
        MisodiceError: it is something else, or a partial has an argument that its class does not take.
    """
    made = made_by(factory)
    fits = issubclass(made, base) if isinstance(made, type) else callable(made) and not isinstance(factory, base)
    if not fits:
        raise MisodiceError(
            f"{option}: found {factory!r}, expected a class of {base.__name__} itself, or functools.partial of one: "
            "the stage makes the object when it knows the sizes of the data"
        )
    if isinstance(factory, partial) and isinstance(made, type):
        unknown = [name for name in factory.keywords if name not in parameters_of(made)]
        if unknown:
            known = ", ".join(parameters_of(made))
            raise MisodiceError(f"{option}: {made.__name__} has no option {unknown[0]!r}; it has {known}")
        # Here, and not only when the object is made: other stages would have been trained by then.
        check_limits(option, limits_of(made), factory.keywords)
    return factory


def config_of(value: Any, met: list[Any] | None = None) -> Any:
    """`value` as plain values: objects become their class path and constructor arguments.

    Args:
        value: options, parts, classes, arrays, or any object that can be pickled.
        met: gets every class and function that is met on the way.

    Raises:
        MisodiceError: an object cannot be described: it is no part and cannot be pickled.
    """
    return _describe(value, [] if met is None else met, ())


def _describe(value: Any, met: list[Any], inside: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if id(value) in inside:
        return "an object that holds itself"
    inside = (*inside, id(value))

    def plain(inner: Any) -> Any:
        return _describe(inner, met, inside)

    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(inner) for inner in value), key=repr)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, partial):
        return _described_factory(value, met, plain)
    if isinstance(value, (type, FunctionType)) or inspect.isbuiltin(value):
        met.append(value)
        # A function that was made by another one differs from its siblings by what it holds.
        held = _held(value)
        return _with_arguments(value, _defaults(value) | ({"held": held} if held else {}), plain)
    kind = type(value)
    if isinstance(value, Part):
        met.append(kind)
        return _with_arguments(kind, value._arguments, plain)
    if is_dataclass(value):
        met.append(kind)
        return _with_arguments(kind, {each.name: getattr(value, each.name) for each in fields(value)}, plain)
    if (content := _bytes(value)) is not None:
        return {"class_path": class_path(kind), "content": hashlib.sha256(content).hexdigest()[:16]}
    if inspect.ismethod(value):
        met.append(value.__func__)
        return {"class_path": class_path(value.__func__), "of": plain(value.__self__)}
    met.append(kind)
    return {"class_path": class_path(kind), "state": plain(_state(value))}


def made_by(factory: Any) -> Any:
    """The class or function that a factory calls: jsonargparse wraps a class in a partial with functions of its own."""
    if not isinstance(factory, partial):
        return factory
    return next((each for each in (factory.func, *factory.args) if isinstance(each, type)), factory.func)


def _described_factory(value: partial[Any], met: list[Any], plain: Any) -> Any:
    made = made_by(value)
    met.append(made)
    given = (value.func, *value.args)
    positional = given[given.index(made) + 1 :]
    # A function's arguments have no names here: they count by their place.
    names = parameters_of(made) if isinstance(made, type) else map(str, range(len(positional)))
    return _with_arguments(made, _defaults(made) | dict(zip(names, positional, strict=False)) | value.keywords, plain)


def _held(function: Any) -> list[Any]:
    try:
        return [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    except ValueError as error:
        raise MisodiceError(f"{class_path(function)}: names a variable that has no value yet; set it first") from error


def _with_arguments(made: Any, arguments: dict[str, Any], plain: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"class_path": class_path(made)}
    if arguments:
        described["init_args"] = {name: plain(inner) for name, inner in arguments.items()}
    return described


def _defaults(made: Any) -> dict[str, Any]:
    if not isinstance(made, type):
        return {}
    try:
        return {name: p.default for name, p in parameters_of(made).items() if p.default is not p.empty}
    except ValueError:  # a class written in C has no signature
        return {}


def _bytes(value: Any) -> bytes | None:
    """The numbers of an array or tensor, or bytes themselves; None of anything else."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    if type(value).__module__.partition(".")[0] == "torch":
        import torch  # late: a program that holds no tensor may not need torch

        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            return f"{value.dtype} {tuple(value.shape)}".encode() + flat.numpy().tobytes()
    return None


def _state(value: Any) -> Any:
    try:
        registered = copyreg.dispatch_table.get(type(value))
        reduced = registered(value) if registered else value.__reduce_ex__(2)
    except Exception as error:
        raise MisodiceError(
            f"{class_path(type(value))}: an object of this class cannot be told from another one ({error}); give the "
            "class a __getstate__ that returns plain values, or make it a subclass of misodice.Part"
        ) from error
    if isinstance(reduced, str):
        return reduced
    _, arguments, *rest = reduced
    return [list(arguments[1:] if arguments and arguments[0] is type(value) else arguments), *map(_listed, rest)]


def _listed(value: Any) -> Any:
    return list(value) if hasattr(value, "__next__") else value


def class_path(made: Any) -> str:
    """Module and name of a class or function."""
    return f"{made.__module__}.{made.__qualname__}"


def import_class(path: str, base: type[P], option: str) -> type[P]:
    """The class that `path` names.

    Args:
        path: module and name, such as my_package.MyActor.
        base: what it must be a subclass of.
        option: where the path was given, for messages.

    Raises:
        MisodiceError: it cannot be imported, or is of another kind.
    """
    module, _, name = path.rpartition(".")
    module = module or "misodice"  # a built-in class by its name alone
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MisodiceError(
            f"{option}: {path!r} cannot be imported ({error}); expected module.Class of a {base.__name__} that Python "
            "finds from the current folder"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise MisodiceError(f"{option}: {path!r} is {found!r}, expected a subclass of {class_path(base)}")
    return found


def build(base: type[P], config: Mapping[str, Any], where: str) -> P:
    """The part that `config` describes (see `config_of`).

    Args:
        base: what it must be a subclass of.
        config: class_path and init_args.
        where: what holds the config, for messages.

    Raises:
        MisodiceError: the class cannot be imported or is of another kind, or an argument does not fit it.
    """
    from argparse import ArgumentError  # late: only checkpoints are read this way

    from jsonargparse import ArgumentParser

    import_class(str(config["class_path"]), base, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, "part")
    try:
        built: P = parser.instantiate(parser.parse_object({"part": dict(config)})).part
    except ArgumentError as error:
        raise MisodiceError(f"{where}: {error}") from error
    return built
