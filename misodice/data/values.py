"""Values of a user's own: taken in as what they plainly are, and refused where two readings are possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from misodice.errors import MisodiceError

WRITE_AGAIN = "write the file again"


def fault(where: object, field: str, found: object, expected: object, remedy: str = WRITE_AGAIN) -> MisodiceError:
    """The error of one field: where it is, what was found, what was expected, what to do."""
    return MisodiceError(f"{where}: {field}: found {found}, expected {expected}; {remedy}")


def array_of(where: object, field: str, value: Any) -> np.ndarray:
    """`value` as an array of whatever type it has: an array, a list, a tensor.

    Raises:
        MisodiceError: it is none (rows of different lengths), or some of its values are masked.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        place = [int(i) for i in np.argwhere(np.ma.getmaskarray(value))[0]]
        raise fault(where, field, f"a masked value at {place}", "values", "fill it in, or leave the episode out")
    try:
        return np.asarray(value)
    # What tensors and lists of others raise is no closed list.
    except Exception as error:
        message = " ".join(str(error).split())
        raise fault(
            where, field, f"a {type(value).__name__} that numpy cannot read ({message})", "an array of numbers"
        ) from error


def check_type(where: object, field: str, dtype: np.dtype[Any], kinds: str = "fiub") -> None:
    """Raise where values are of another type than those of `kinds` (numpy's letters)."""
    if dtype.kind not in kinds:
        words = "whole numbers" if kinds == "iu" else "numbers"
        raise fault(where, field, f"type {_type_name(dtype)}", words, f"write {words}")


def _type_name(dtype: np.dtype[Any]) -> str:
    names = {"O": "object", "S": "bytes", "U": "text", "V": "record or opaque", "c": "complex", "b": "bool"}
    return names.get(dtype.kind, str(dtype))


def place_of(wrong: np.ndarray) -> tuple[int, ...]:
    """Index of the first value that is wrong."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))


def as_floats(values: np.ndarray) -> np.ndarray:
    """Cast to float32; what is too large becomes infinity, for `check_finite`."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, np.float32)


def as_flags(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Cast to bool.

    Raises:
        MisodiceError: a value is neither 0 nor 1.
    """
    if values.dtype.kind != "b":
        wrong = (values != 0) & (values != 1)  # NaN is neither
        if wrong.any():
            place = place_of(wrong)
            raise fault(where, field, f"{values[place]} at {list(place)}", "0 or 1", "write true or false")
    return np.ascontiguousarray(values, bool)


def as_whole_numbers(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Cast to int64; floats that are whole numbers are taken as such.

    Raises:
        MisodiceError: a value is no whole number, or too large for one.
    """
    wide = values.astype(np.float64) if values.dtype.kind == "f" else values
    wrong = (wide > 2**53) | (wide < -(2**53))
    if values.dtype.kind == "f":
        wrong |= ~np.isfinite(wide) | (wide != np.floor(wide))
    if wrong.any():
        place = place_of(wrong)
        raise fault(where, field, f"{values[place]} at {list(place)}", "whole numbers", "write integers")
    return np.ascontiguousarray(values, np.int64)


def as_names(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Text of any kind as an array of str; bytes are read as UTF-8.

    Raises:
        MisodiceError: an entry is no text.
    """
    if values.dtype.kind not in "SUO":
        raise fault(where, field, f"type {_type_name(values.dtype)}", "text", "write names as strings")
    names = []
    for place, value in enumerate(values.reshape(-1)):
        name = text_of(value)
        if name is None:
            raise fault(where, field, f"{value!r} at [{place}]", "text (UTF-8)", "write names as strings")
        names.append(name)
    return np.array(names, dtype=str)


def text_of(value: Any) -> str | None:
    """A string, or bytes in UTF-8, or an array of one of them, as a string; None of anything else."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SUO":
        return text_of(value.reshape(-1)[0])
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()  # h5py keeps bytes that are no UTF-8 as halves of characters
            return str(value)
    except UnicodeError:
        return None
    return None


def number_of(value: Any) -> float | None:
    """One number, also as an array of one entry; None of anything else."""
    array = np.asarray(value) if isinstance(value, (int, float, np.generic, np.ndarray)) else np.zeros(0)
    if array.size != 1 or array.dtype.kind not in "iuf":
        return None
    return float(array.reshape(-1)[0])


def shown(value: Any) -> str:
    """A value for a message: on one line, and not more than 80 characters of it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
