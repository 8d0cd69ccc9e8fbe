"""A terminal view of pairs, of what the labeller sees of them, and of what it said."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from misodice.data.episodes import Episodes
from misodice.data.preferences import Line, PreferencesFile
from misodice.labelling.base import Labeller


def show(labeller: Labeller, episodes: Episodes, file: PreferencesFile, k: int, console: Console) -> None:
    """Print the first `k` pairs: what the labeller judges by, and its answers so far. Nothing is asked or written.

    Raises:
        MisodiceError: the episodes lack what the labeller reads.
    """
    labeller.check(episodes)
    lines: dict[int, list[Line]] = {}
    for line in file.lines:
        if line["kind"] in ("reply", "preference"):
            lines.setdefault(line["pair"], []).append(line)
    for pair in range(min(k, len(file.pairs))):
        first, second = file.pairs[pair].tolist()
        title = f"pair {pair}: episode {first} (first) and {second} (second)"
        console.print(Panel(Text(labeller.view(episodes, first, second)), title=title, title_align="left"))
        # Text, since a model's words may look like markup.
        for line in lines.get(pair, []):
            console.print(Text(_words(line)))
        if not lines.get(pair):
            console.print(Text("not answered yet"))


def _words(line: Line) -> str:
    if line["kind"] == "preference":
        why = f" ({line['tie_reason']})" if line["answer"] == "tie" else ""
        return f"answer: {line['answer']}{why}"
    said = line["answer"] or f"no answer: {line['problem']}"
    reason = f" — {line['reason']}" if line["reason"] else ""
    return f"asked {line['order']}, {line['model'] or 'the model'} said: {said}{reason}"
