"""The parser of all commands: errors first, and options that belong to their class."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import jsonargparse._typehints as typehints
from jsonargparse import ArgumentParser
from jsonargparse._util import import_object
from lightning.pytorch.cli import LightningArgumentParser

import misodice
from misodice.cli.first_edition import MOVED, words_in_todays_form
from misodice.errors import MisodiceError
from misodice.runs.configs import find_config
from misodice.runs.parts import same_option


class Parser(ArgumentParser):
    """Says what is wrong in one line, and not the whole usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # Else --trainer.max_epoch is max_epochs, and another option as soon as there is a second one of that start.
        super().__init__(*args, **{"allow_abbrev": False} | options)

    words: Sequence[str] = ()
    """The arguments that are being parsed."""

    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Parse, and remember the words for messages."""
        self.words = sys.argv[1:] if args is None else args
        return super().parse_args(args, *more, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message and end with status 2."""
        if not self.exit_on_error:  # one of several readings that are tried
            super().error(message, ex)
        if unknown := re.search(r"Option '([\w.]+)' is not accepted", message):
            # jsonargparse names the last part alone.
            given = (word.partition("=")[0] for word in self.words)
            option = next((word for word in given if word.endswith(f".{unknown[1]}")), unknown[1])
            moved = MOVED.get(option.removeprefix("--"))
            message = f"{option} is not an option" + (f"; {moved}" if moved else "")
        message = _short(message)
        if NOT_TEXT.search(message):
            message = self._not_text(message.partition(":")[0])
        command = self.prog.replace(" [options]", "")
        if command == "misodice" and self.words and not self.words[0].startswith("-"):
            command = f"misodice {self.words[0]}"
        sys.stderr.write(f"error: {message}\n{command} --help lists the options\n")
        raise SystemExit(2)

    def _not_text(self, option: str) -> str:
        """An option whose value is a file of bytes: jsonargparse reads a file in place of a block of options."""
        given = next(
            (value or following for name, value, following in self._given() if name.removeprefix("--") == option), ""
        )
        hint = f"; did you mean --{option}.path?" if option in ("data", "labels") else ""
        return f"{option}: found the file {given!r}, which is no text, expected options in YAML{hint}"

    def _given(self) -> Iterator[tuple[str, str, str]]:
        """Each word as its name, the value after `=`, and the word that follows."""
        for word, following in pairwise([*self.words, ""]):
            name, _, value = word.partition("=")
            yield name, value, following


NOT_TEXT = re.compile(r"codec can't decode|function takes exactly 5 arguments")
"""What Python says of a file that is no text; the second where jsonargparse makes the error again from its words."""
USELESS = re.compile(
    r"(- )?Does not validate against any of the Union|Subtypes: |Errors:$|- Expected a <class 'NoneType'>|"
    r"Given value type: |Given value: NestedArg|- Expected a path but .* invalid$"
)
"""Lines of jsonargparse that list how else a value could have been read."""
KEY = re.compile(r"""Parser key "([^"]+)": (?:Problem with given class_path '[^']*': (?=Parser key))?""")
"""What jsonargparse says before the message on each level of an option."""
EXPECTED = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.Literal\[([^\]]*)\])\.?")
"""A kind of value that an option takes."""
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}
"""Python's terms in other words; all others that can be met are lists."""
GIVEN = re.compile(r"\.? ?(?:Got|Given) value: (.*)")
NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")


def _short(message: str) -> str:
    """The message on one line, without what would help nobody, and with the whole name of the option first."""
    lines = [line.strip() for line in message.splitlines()]
    kept = [line.removeprefix("- ") for line in lines if line and not USELESS.match(line)]
    told = " ".join(dict.fromkeys(kept)) or message
    if missing := re.fullmatch(r"the following arguments are required: (?:fit|label|test|validate)\.(\w+)", told):
        return f"{missing[1]}: found null, expected a class"
    if names := KEY.findall(told):
        # A class inside a class: each level names its own part of the option.
        told = f"{'.'.join(names)}: {KEY.split(told)[-1]}"
    # What a class was given whole says less than what was wrong in it.
    told = re.sub(r"\. Got value: Namespace\(.*| Subclass types expect one of: .*", "", told)
    told = re.sub(r"Expected an instantiatable class, but (\S+) is abstract", r"name a class of \1 first", told)
    told = re.sub(r"Type collections\.abc\.Callable\[.*?\] expects a function or a callable class: ", "", told)
    given = GIVEN.search(told)
    kinds = [literal or KINDS.get(kind, "a list") for kind, literal in EXPECTED.findall(told)]
    classes = NO_CLASS.findall(told)
    if given and (kinds or classes):
        kinds += ["a built-in class or module.Class"] if classes else []
        told = f"{told[: told.index(': ')]}: found {given[1]!r}, expected {' or '.join(dict.fromkeys(kinds))}"
    elif classes:
        told = NO_CLASS.sub(r"found '\1', expected a built-in class or module.Class", told)
    return " ".join(told.split()) + _near(told)


def _near(message: str) -> str:
    """A hint where a class's name is misspelt."""
    wrong = re.search(r"found '([\w.]+)', expected .*a built-in class|class_path '([\w.]+)'", message)
    if wrong is None:
        return ""
    name = (wrong[1] or wrong[2]).rpartition(".")[2]
    classes = [each for each in dir(misodice) if each[:1].isupper()]
    near = [] if name in classes else difflib.get_close_matches(name, classes, 1)
    return f"; did you mean {near[0]}?" if near else ""


class TrainingParser(Parser, LightningArgumentParser):
    """The same for LightningCLI's commands."""


def drop_options_of_another_class(parser_or_action: Any, prev_val: Any, value: Any) -> None:
    """In place of jsonargparse's function of the same purpose, which keeps every option that fits by name.

    So a user's mixer would inherit `hidden: 64` of the mixer that it replaces. Here an option stays only if both
    classes have it from the same constructor.

    Args:
        parser_or_action: not used.
        prev_val: class_path and init_args so far; its options are removed in place.
        value: class_path and init_args that come now.
    """
    if not prev_val or "init_args" not in prev_val or prev_val["class_path"] == value["class_path"]:
        return
    old, new = (import_object(each["class_path"]) for each in (prev_val, value))
    if old is new:
        return
    options = prev_val["init_args"]
    for name in {key.partition(".")[0] for key in options.keys()}:  # noqa: SIM118 - a Namespace iterates over pairs
        if not (isinstance(old, type) and isinstance(new, type) and same_option(name, old, new)):
            options.pop(name)


# No public setting changes this. A test fails if jsonargparse moves the function.
assert callable(typehints.discard_init_args_on_class_path_change)
typehints.discard_init_args_on_class_path_change = drop_options_of_another_class


def arranged(arguments: Sequence[str]) -> list[str]:
    """The arguments of one command: config files first, found where they are, and `--dry_run` with its value.

    `--print_config skip_default` may be written with a blank.

    An option always wins over a config file, wherever it stands: `--data.path X --config C` keeps X.

    Args:
        arguments: the command and its options.
    """
    configs: list[str] = []
    others: list[str] = []
    waiting = iter(words_in_todays_form(arguments)[1:])
    for word in waiting:
        name, equals, given = word.partition("=")
        if name in ("--config", "-c"):
            path = given if equals else next(waiting, "")
            configs += ["--config", _config(path)]
        else:
            others.append(word)
    # jsonargparse takes a bool for an option with a value, and flags of --print_config after a "=" alone.
    rest: list[str] = []
    for word, following in pairwise([*others, "--"]):
        if word == "--dry_run" and following.startswith("-"):
            rest.append("--dry_run=true")
        elif rest and rest[-1] == "--print_config" and not word.startswith("-"):
            rest[-1] = f"--print_config={word}"
        else:
            rest.append(word)
    return [*arguments[:1], *configs, *rest]


def _config(path: str) -> str:
    if not path.strip():
        raise MisodiceError("--config: found nothing, expected a YAML file or the name of a shipped config")
    if "\n" in path or path.lstrip().startswith("{"):
        return path
    found = find_config(path, "--config")
    try:
        found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisodiceError(f"--config: {found} cannot be read as text ({error}); name a YAML file") from error
    return str(found)
