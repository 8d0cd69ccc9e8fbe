"""A view of pairs, of what the labeller sees of them, and of what it said: for a terminal, a pipe, or a file."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from misodice.data.episodes import Episodes
from misodice.data.preferences import Line, PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.runs.files import write_bytes


def show(
    labeller: Labeller,
    episodes: Episodes,
    file: PreferencesFile,
    k: int,
    console: Console,
    output: Path | None = None,
) -> None:
    """Show the first `k` pairs: what the labeller judges by, and its answers so far. Nothing is asked.

    Args:
        labeller: whose view it is.
        episodes: the file of the pairs.
        file: of the answers so far.
        k: how many pairs; where there are fewer, all are shown.
        console: a terminal gets the text wrapped to its width; a pipe gets the lines as they are.
        output: a new file that gets the lines as they are, in UTF-8, in place of the console.

    Raises:
        MisodiceError: `k` is less than 1, the episodes lack what the labeller reads, or `output` exists or cannot be
            written.
    """
    if k < 1:
        raise MisodiceError(f"show is {k}, expected how many pairs to show, 1 or more")
    if output is not None and (output.exists() or output.is_symlink()):
        raise MisodiceError(f"output: {output} exists and is not replaced; name a new file")
    labeller.check(episodes)
    lines: dict[int, list[Line]] = {}
    for line in file.lines:
        if line["kind"] in ("reply", "preference", "left_out"):
            lines.setdefault(line["pair"], []).append(line)
    shown = min(k, len(file.pairs))
    written: list[str] = []
    for pair in range(shown):
        first, second = file.pairs[pair].tolist()
        title = f"pair {pair}: episode {first} (first) and {second} (second)"
        view = labeller.view(episodes, first, second)
        said = [_words(line) for line in lines.get(pair, [])] or ["not answered yet"]
        if output is None and console.is_terminal:
            # The console may be set not to wrap, for messages; here words would be lost.
            panel = Panel(Text(_plain(view), overflow="fold"), title=Text(_plain(title)), title_align="left")
            console.print(panel, soft_wrap=False, no_wrap=False)
            for words in said:
                console.print(Text(_plain(words), overflow="fold"), soft_wrap=False, no_wrap=False)
        else:
            written.append("\n".join([f"=== {title} ===", view, *said, ""]))
    if shown < k:
        written.append(f"these are all {shown} pairs\n")
    if output is not None:
        # What cannot be encoded is written as its number, such as half of a pair of surrogates.
        write_bytes(output, "\n".join(written).encode("utf-8", "backslashreplace"))
        console.print(f"written: {output} ({shown} pairs)", highlight=False, markup=False)
        return
    for text in written:
        console.print(Text(_plain(text)), soft_wrap=True)


def _words(line: Line) -> str:
    if line["kind"] == "preference":
        why = f" ({line['tie_reason']})" if line["answer"] == "tie" else ""
        return f"answer: {line['answer']}{why}"
    if line["kind"] == "left_out":
        return f"left out without an answer ({line['problem']})"
    said = line["answer"] or f"no answer: {line['problem']}"
    reason = f" — {line['reason']}" if line["reason"] else ""
    return f"asked {line['order']}, {line['model'] or 'the model'} said: {said}{reason}"


def _plain(text: str) -> str:
    """Without what a terminal would obey: a model's words may hold it."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "�", text)
