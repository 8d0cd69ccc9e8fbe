"""What a user's code says: a digest of the source of classes and functions outside the installed packages."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import logging
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

INSTALLED = tuple(
    Path(path).resolve()
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path
)

log = logging.getLogger(__name__)
PLAIN = (bool, int, float, str, tuple)


def source_digest(things: Iterable[Any]) -> dict[str, str]:
    """A hash for each definition that `things` are built from, by module and name.

    A definition counts with everything that it names in turn: base classes, functions, constants, also of other
    modules, as long as they lie outside the installed packages. Comments, layout and docstrings do not count.

    Args:
        things: classes and functions.
    """
    modules: dict[str, Module | None] = {}
    found: dict[str, str] = {}
    waiting: list[tuple[str, str]] = []
    seen = set[str]()
    for thing in things:
        name = thing.__qualname__.partition(".")[0]
        module = _module(thing.__module__, modules)
        if module is not None and name in module.definitions:
            waiting.append((thing.__module__, name))
        elif module is not None or _has_no_file(thing):  # a lambda, or typed code
            digest = _hash(repr(list(_compiled(thing, []))))
            found[f"{thing.__module__}.{thing.__qualname__} {digest}"] = digest  # two lambdas have one name
    while waiting:
        module_name, name = waiting.pop()
        key = f"{module_name}.{name}"
        module = _module(module_name, modules)
        if key in seen or module is None:
            continue
        seen.add(key)
        if name not in module.definitions:
            if name in module.imports:
                waiting += _targets(module.imports[name], (), modules)
            else:
                waiting += [(star, name) for star in module.stars]
            continue
        found[key] = module.digest(name) + _edited(module, name)
        mentioned = module.mentions(name)
        waiting += [(module.name, each) for each in mentioned.here]
        waiting += [(star, each) for star in module.stars for each in mentioned.elsewhere]
        for imported, attributes in mentioned.imported:
            waiting += _targets(imported, attributes, modules)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Mentions:
    """What a definition names, each once.

    Args:
        here: definitions of its own module.
        elsewhere: names that are neither defined nor imported there.
        imported: (module, name in it or None) of an import, and the attributes that are taken of it.
    """

    here: frozenset[str]
    elsewhere: frozenset[str]
    imported: frozenset[tuple[tuple[str, str | None], tuple[str, ...]]]


@dataclass
class Module:
    """One source file.

    Args:
        name: of the module.
        package: that relative imports start from.
        definitions: statements by the name that they bind at the top level.
        imports: (module, name in it or None for the module itself) by local name.
        stars: modules all of whose names are imported (`from module import *`).
        code: compiled functions by their qualified name.
    """

    name: str
    package: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    code: dict[str, list[CodeType]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _mentions: dict[str, Mentions] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        """Of one definition."""
        if name not in self._digests:
            self._digests[name] = _hash("\n".join(ast.dump(node) for node in self.definitions[name]))
        return self._digests[name]

    def mentions(self, name: str) -> Mentions:
        """Of one definition. Reading a syntax tree takes longer than all else here, so that it is done once."""
        if name not in self._mentions:
            self._mentions[name] = _mentions(self, self.definitions[name])
        return self._mentions[name]


def _module(name: str, known: dict[str, Module | None]) -> Module | None:
    """The parsed file of a module; None where it is installed or has no file of source."""
    if name not in known:
        path = _users_file(_place(name))
        known[name] = None if path is None else _read(name, path)
    return known[name]


def _read(name: str, path: Path) -> Module | None:
    try:
        return _parse(name, path, path.stat().st_mtime_ns)
    except (OSError, SyntaxError):  # gone, or being edited: what runs was read earlier
        return None


def _place(name: str) -> str | None:
    """Where a module is, as Python says."""
    loaded = sys.modules.get(name)
    place = getattr(loaded, "__file__", None)
    if loaded is None:
        # To find a.b, Python imports a: of an installed package, such as jax, that takes seconds.
        if _all_installed(name.partition(".")[0]):
            return None
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        place = spec.origin if spec else None
    return place


@cache
def _users_file(place: str | None) -> Path | None:
    """The file of source that it is, unless it is installed. Python asks the file system for each part of the path."""
    path = Path(place).resolve() if place and place.endswith(".py") else None
    return None if path is None or _installed(path) else path


@cache
def _all_installed(package: str) -> bool:
    """Whether a package is installed: none of its folders, or its one file, is the user's."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
    return all(not Path(place).is_absolute() or _installed(Path(place).resolve()) for place in places)


def _installed(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in INSTALLED) or "site-packages" in path.parts


@lru_cache(256)
def _parse(name: str, path: Path, changed: int) -> Module:
    content = path.read_bytes()
    tree = ast.parse(content)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    module = Module(name, package)
    for called, code in _codes(compile(content, str(path), "exec", dont_inherit=True)):
        module.code.setdefault(called, []).append(code)
    for node in _top_level(tree.body):
        for bound in _bound(node):
            module.definitions.setdefault(bound, []).append(_bare(node))
        for bound, target in _imports(node, package).items():
            if bound == "*":
                module.stars.append(target[0])
            else:
                module.imports[bound] = target
    return module


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, also inside `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _top_level(handler.body)
        else:
            yield node


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _bare(node: ast.stmt) -> ast.stmt:
    """Without docstrings."""
    for each in ast.walk(node):
        if isinstance(each, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(each, False):
            each.body = each.body[1:] or [ast.Pass()]
    return node


def _imports(node: ast.AST, package: str) -> dict[str, tuple[str, str | None]]:
    if isinstance(node, ast.Import):
        return {
            (alias.asname or alias.name.partition(".")[0]): (
                alias.name if alias.asname else alias.name.partition(".")[0],
                None,
            )
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom):
        start = package.rsplit(".", node.level - 1)[0] if node.level else ""
        source = ".".join(filter(None, [start, node.module]))
        return {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    return {}


def _mentions(module: Module, nodes: Iterable[ast.stmt]) -> Mentions:
    here, elsewhere = set[str](), set[str]()
    imported = set[tuple[tuple[str, str | None], tuple[str, ...]]]()
    for node in nodes:
        inside = list(ast.walk(node))
        imports = dict(module.imports)
        for each in inside:
            imports |= _imports(each, module.package)
        for each in inside:
            if isinstance(each, ast.Name):
                if each.id in module.definitions:
                    here.add(each.id)
                elif each.id in imports:
                    imported.add((imports[each.id], ()))
                else:
                    elsewhere.add(each.id)
            elif isinstance(each, ast.Attribute):
                path = _dotted(each)
                if path and path[0] in imports:
                    imported.add((imports[path[0]], tuple(path[1:])))
    return Mentions(frozenset(here), frozenset(elsewhere), frozenset(imported))


def _dotted(node: ast.AST) -> list[str] | None:
    """["a", "b", "c"] of the expression a.b.c."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else None
    return None


def _targets(
    imported: tuple[str, str | None], attributes: Iterable[str], modules: dict[str, Module | None]
) -> Iterator[tuple[str, str]]:
    """The definitions that an imported name, or an attribute of an imported module, stands for."""
    source, name = imported
    path = [*source.split("."), *([name] if name else []), *attributes]
    # The longest prefix that is a module outside the installed packages holds the rest.
    for cut in range(len(path) - 1, 0, -1):
        module = _module(".".join(path[:cut]), modules)
        if module is not None:
            if path[cut] in module.definitions or path[cut] in module.imports:
                yield module.name, path[cut]
            return


def _edited(module: Module, name: str) -> str:
    """What is added to the digest of a definition that was edited after its import: a hash of what runs.

    So a result of the old code is not taken for one of the new file, nor of the old file.
    """
    loaded = sys.modules.get(module.name)
    # Another loader, such as pytest's, runs other code than the file's on purpose.
    if loaded is None or type(getattr(loaded, "__loader__", None)) is not SourceFileLoader:
        return ""
    for running in _functions(getattr(loaded, name, None), module.name):
        # Several, as of a property and its setter, may have one name.
        written = module.code.get(running.co_qualname, [])
        if written and running not in written and _code(running) not in map(_code, written):
            log.warning(
                "%s: %s was edited after it was imported, and the old code runs: start Python again, or call "
                "importlib.reload and make the objects anew",
                *(loaded.__file__, running.co_qualname),
            )
            return f" runs {_hash(repr(_code(running)))}"
    return ""


def _functions(thing: Any, module: str) -> Iterator[CodeType]:
    """The code of a function, or of a class's own functions, that a module defines."""
    for value in [thing, *(vars(thing).values() if isinstance(thing, type) and thing.__module__ == module else ())]:
        function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", None)) or value)
        if isinstance(function, FunctionType) and function.__module__ == module:
            yield function.__code__


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The code of every function in compiled code, by its qualified name."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each.co_qualname, each
            yield from _codes(each)


def _has_no_file(thing: Any) -> bool:
    """Whether it was typed: into a notebook, a console or `python -c`."""
    return thing.__module__ == "__main__" and not (_place("__main__") or "").endswith(".py")


def _compiled(thing: Any, met: list[Any]) -> Iterator[Any]:
    """The code of a typed class or function and of what it names, without places and docstrings."""
    if any(thing is each for each in met):
        return
    met.append(thing)
    if isinstance(thing, FunctionType):
        yield thing.__qualname__, _code(thing.__code__), repr(thing.__defaults__), repr(thing.__kwdefaults__)
        for name in sorted(_names(thing.__code__)):
            value = thing.__globals__.get(name)
            if isinstance(value, (type, FunctionType)):
                yield from _compiled(value, met) if _has_no_file(value) else ()
            elif isinstance(value, PLAIN):
                yield name, repr(value)
    elif isinstance(thing, type):
        for base in thing.__mro__:
            if not _has_no_file(base):
                continue
            for name, value in sorted(vars(base).items()):
                function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)))
                if isinstance(function, FunctionType):
                    yield name, *_compiled(function, met)
                elif not name.startswith("__") and isinstance(value, PLAIN):
                    yield name, repr(value)


def _names(code: CodeType) -> set[str]:
    """Global names in a function and in the functions inside it."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = [
        _code(each)
        if isinstance(each, CodeType)
        # The order of a set is of one process.
        else repr(sorted(map(repr, each)) if isinstance(each, frozenset) else each)
        for each in code.co_consts
    ]
    docstring = code.co_consts[0] if code.co_consts and isinstance(code.co_consts[0], str) else None
    return code.co_code.hex(), code.co_names, [each for each in constants if each != repr(docstring)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
