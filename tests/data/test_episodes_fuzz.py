"""Files that are nearly right are read as what they plainly say, or are refused in one line.

N mutations of a small valid file: fields are dropped, retyped, reshaped, filled with odd values or replaced by
something else, and attributes are changed. What is read must be equal to what was written, number by number.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st

from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError
from tests.helpers.own_file import own_attributes, own_fields

N = 150
FIELDS = sorted(own_fields(discrete=True))
TYPES = ["f2", "f4", "f8", ">f4", "i1", "i4", ">i8", "u1", "u8", "?", "c8", "S4", "text", "record", "enum", "void"]
SHAPES = ["last one", "first one", "flat", "shorter", "longer", "doubled", "empty", "no width", "scalar", "turned"]
FILLS = [0, 1, -1, 2, 0.5, 1e-3, 1.001, 70000.0, 2.0**40, -(2.0**31), 1e300, -0.0, np.nan, np.inf, -np.inf]
OBJECTS = ["group", "soft link", "dangling", "external", "type", "never filled", "packed", "twice"]
ODD = [
    *("", "a, b, c", "[]", "{}", "null", "3", '["a", "b", "c"]', '["a", 1, "c"]', '{"engine": 3}', '{"task": ["x"]}'),
    *('{"engine": "smax", "task": "3m"}', '{"a": NaN}', '{"a": "\\ud800"}', "[[[", b"misodice-episodes", b"\xff\xfe"),
    *(1, 1.0, 2, 0, -1, 1.5, np.nan, np.inf, True, np.uint8(1), np.array([1]), np.array([1, 1]), np.zeros(0), 1 + 2j),
    *(np.array([b"a", b"b", b"c"]), np.array([[b"a", b"b", b"c"]]), np.zeros(3), np.array([["a"]], "S")),
    h5py.Empty("S1"),
]


def retyped(values: np.ndarray, kind: str) -> Any:
    if kind == "text":
        return np.array([str(value) for value in values.reshape(-1)], object).reshape(values.shape)
    if values.dtype == object:
        values = np.arange(len(values))
    if kind == "record":
        return np.zeros(values.shape, [("a", "f4"), ("b", "i4")])
    if kind == "void":
        return np.zeros(values.shape, "V4")
    if kind == "enum":
        return values.astype("i4").astype(h5py.enum_dtype({"no": 0, "yes": 1}, basetype="i4"))
    return values.astype(kind)


def reshaped(values: np.ndarray, how: str) -> Any:
    shapes = {
        "last one": lambda x: x[..., None],
        "first one": lambda x: x[None],
        "flat": lambda x: x.reshape(-1),
        "shorter": lambda x: x[:-1],
        "longer": lambda x: np.concatenate([x, x[-1:]]),
        "doubled": lambda x: np.repeat(x[..., None], 2, -1),
        "empty": lambda x: x[:0],
        "no width": lambda x: x[..., :0],
        "scalar": lambda x: x.reshape(-1)[:1].reshape(()),
        "turned": lambda x: x.T,
    }
    return shapes[how](values)


def filled(values: np.ndarray, fill: float, place: float, whole: bool) -> np.ndarray:
    if values.dtype.kind not in "fiub" or not values.size:
        return values
    values = values.astype("f8") if values.dtype.kind in "iub" and fill not in (0, 1) else values.copy()
    flat = values.reshape(-1)
    flat[slice(None) if whole else slice(int(place * (flat.size - 1)), int(place * (flat.size - 1)) + 1)] = fill
    return values


def replaced(file: h5py.File, name: str, kind: str, values: np.ndarray) -> None:
    """Something else under the name of a field."""
    text = {"dtype": h5py.string_dtype()} if values.dtype == object else {}
    if kind == "group":
        file.create_group(name)["inside"] = 1
    elif kind == "soft link":
        file.create_dataset(f"there/{name}", data=values, **text)
        file[name] = h5py.SoftLink(f"/there/{name}")
    elif kind == "dangling":
        file[name] = h5py.SoftLink("/nowhere")
    elif kind == "external":
        file[name] = h5py.ExternalLink("nowhere.h5", "/x")
    elif kind == "type":
        file[name] = np.dtype("f4")
    elif kind == "never filled":
        file.create_dataset(name, values.shape, "f4", chunks=True if values.ndim else None)
    elif kind == "twice":
        file.create_dataset(name, data=values, **text)
        file[f"{name}_2"] = file[name]
    else:
        options = {"compression": "gzip", "shuffle": True, "chunks": True} if values.ndim and values.size else {}
        file.create_dataset(name, data=values, **options, **text)


change = st.one_of(
    st.just(("drop", None)),
    st.tuples(st.just("type"), st.sampled_from(TYPES)),
    st.tuples(st.just("shape"), st.sampled_from(SHAPES)),
    st.tuples(st.just("fill"), st.tuples(st.sampled_from(FILLS), st.floats(0, 1), st.booleans())),
    st.tuples(st.just("object"), st.sampled_from(OBJECTS)),
)


def draw_file(data: st.DataObject, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Write a mutated file; the fields and attributes that stand in it."""
    fields, attributes = own_fields(discrete=data.draw(st.booleans())), own_attributes()
    objects = {}
    for name in data.draw(st.lists(st.sampled_from(FIELDS), max_size=3, unique=True)):
        what, how = data.draw(change)
        if name not in fields:
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if what == "drop":
                del fields[name]
            elif what == "type":
                fields[name] = retyped(fields[name], how)
            elif what == "shape":
                fields[name] = reshaped(fields[name], how)
            elif what == "fill":
                fields[name] = filled(fields[name], *how)
            else:
                objects[name] = how
    for name in data.draw(st.lists(st.sampled_from([*attributes, "action_scale", "created_by"]), max_size=2)):
        if data.draw(st.booleans()):
            attributes.pop(name, None)
        else:
            attributes[name] = data.draw(st.sampled_from(ODD))
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            if name in objects:
                replaced(file, name, objects[name], values)
            elif values.dtype == object:
                file.create_dataset(name, data=values, dtype=h5py.string_dtype())
            else:
                file[name] = values
        for name, value in attributes.items():
            file.attrs[name] = value
    readable = (None, "soft link", "packed", "twice")
    return {name: values for name, values in fields.items() if objects.get(name) in readable}, attributes


def assert_as_written(episodes: Episodes, fields: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Nothing is cut, rounded, turned or filled in."""
    there = {"length": "episode/length", "returns": "episode/return", "won": "episode/won", "source": "episode/source"}
    names = ("obs", "state", "actions", "available_actions", "rewards", "terminated", "truncated", *there)
    for name in names:
        found, written = getattr(episodes, name), fields.get(there.get(name, name))
        if name == "returns" and written is None and found is not None:
            starts = np.cumsum(episodes.length) - episodes.length
            written = np.add.reduceat(fields["rewards"].reshape(-1).astype("f8"), starts)
        if written is None:
            assert found is None, name
            continue
        written = written[..., 0] if written.ndim == found.ndim + 1 and written.shape[-1] == 1 else written
        assert found.shape == written.shape, name
        if name == "source":
            texts = [each.decode() if isinstance(each, bytes) else str(each) for each in written]
            assert found.tolist() == texts
        else:
            numbers = written.astype("f8")
            assert np.array_equal(found, numbers.astype("f4") if found.dtype == np.float32 else numbers), name
    rows = int(episodes.length.sum()) + len(episodes.length)
    assert episodes.obs.shape[0] == episodes.state.shape[0] == rows
    ends = np.cumsum(episodes.length) - 1
    for flags in (episodes.terminated, episodes.truncated):
        assert not np.delete(flags, ends).any()
    for name, size in (("obs_features", episodes.obs.shape[2]), ("state_features", episodes.state.shape[1])):
        found = getattr(episodes.header, name)
        assert len(found) in (0, size)
        written = attributes.get(name)
        if isinstance(written, str):
            assert found == json.loads(written)
        elif isinstance(written, np.ndarray):
            assert found == [each.decode() for each in written.reshape(-1)]
    assert isinstance(episodes.header.env, dict)
    assert 0 < episodes.header.action_scale < np.inf
    assert "\n" not in repr(episodes)
    assert len(repr(episodes)) < 300


def outcome(path: Path, fields: dict[str, np.ndarray], attributes: dict[str, Any]) -> str:
    refused = None
    try:
        episodes = Episodes.read(path)
    except MisodiceError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused
        assert str(path) in refused
        return "refused"
    assert_as_written(episodes, fields, attributes)
    again = path.with_name("again.h5")
    episodes.write(again, overwrite=True)
    read = Episodes.read(again)
    for name in ("obs", "state", "actions", "available_actions", "rewards", "returns", "won", "source", "length"):
        one, other = getattr(episodes, name), getattr(read, name)
        if name == "returns" and one is not None:
            np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)
        else:
            assert (one is None and other is None) or np.array_equal(one, other), name
    return "read"


@settings(max_examples=N, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_file_that_is_nearly_right(tmp_path, data):
    path = tmp_path / "own.h5"
    outcome(path, *draw_file(data, path))
