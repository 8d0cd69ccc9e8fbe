"""`misodice label --show`: what a labeller sees of a pair, whole, wherever it is written."""

from io import StringIO

import pytest
from rich.console import Console

from misodice.cli.main import main
from misodice.data.preferences import PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller, RuleLabeller
from misodice.labelling.show import show
from tests.helpers.cli import CONFIGS


@pytest.fixture
def file(battles, tmp_path):
    return PreferencesFile(tmp_path / "preferences.jsonl", sample_pairs(battles.n_episodes, 5, 0), "x")


def shown(battles, file, k, labeller=None, width=60, terminal=True, output=None) -> str:
    console = Console(width=width, force_terminal=terminal, color_system=None, file=StringIO(), soft_wrap=True)
    show(labeller or LLMLabeller(), battles, file, k, console, output)
    return console.file.getvalue()


def test_a_terminal_gets_the_whole_prompt_wrapped(battles, file):
    printed = shown(battles, file, 2)
    assert max(map(len, printed.splitlines())) <= 60
    words = " ".join(line.strip("│╭╮╰╯─ ") for line in printed.splitlines()).split()
    for pair in range(2):
        prompt = LLMLabeller().view(battles, *file.pairs[pair].tolist())
        # Every word stands there, in order; one that is longer than a line is folded.
        assert "".join(prompt.split()) in "".join(words)
    assert "pair 2" not in printed


def test_a_pipe_gets_the_lines_as_they_are(battles, file):
    printed = shown(battles, file, 1, terminal=False)
    prompt = LLMLabeller().view(battles, *file.pairs[0].tolist())
    assert prompt in printed
    assert "│" not in printed
    assert "=== pair 0: episode" in printed
    assert "not answered yet" in printed


def test_more_than_there_are(battles, file):
    printed = shown(battles, file, 10**12, RuleLabeller())
    assert "pair 4" in printed
    assert "these are all 5 pairs" in printed


@pytest.mark.parametrize("k", [0, -1, -(10**9)])
def test_less_than_one(battles, file, k):
    with pytest.raises(MisodiceError, match=rf"show is {k}, expected how many"):
        shown(battles, file, k)


def test_a_file_gets_all_in_utf_8_and_an_existing_one_is_kept(battles, file, tmp_path):
    output = tmp_path / "new" / "prompts.txt"
    assert "written: " in shown(battles, file, 3, output=output)
    text = output.read_text(encoding="utf-8")
    for pair in range(3):
        assert LLMLabeller().view(battles, *file.pairs[pair].tolist()) in text
    with pytest.raises(MisodiceError, match="exists and is not replaced"):
        shown(battles, file, 1, output=output)
    with pytest.raises(MisodiceError, match="exists and is not replaced"):
        shown(battles, file, 1, output=tmp_path)
    assert output.read_text(encoding="utf-8") == text


class Odd(RuleLabeller):
    def view(self, episodes, first, second):
        return "\x1b[31mred\x07 é ✓ \ud800 [/bold]"


def test_words_that_a_terminal_would_obey(battles, file, tmp_path):
    for terminal in (True, False):
        printed = shown(battles, file, 1, Odd(), terminal=terminal)
        assert "\x1b" not in printed
        assert "\x07" not in printed
        assert "[/bold]" in printed
    shown(battles, file, 1, Odd(), output=tmp_path / "odd.txt")
    assert "é ✓ \\ud800 [/bold]" in (tmp_path / "odd.txt").read_text(encoding="utf-8")


def test_the_command(smax_file, tmp_path, capsys):
    output = tmp_path / "prompts.txt"
    options = [
        "--data.path",
        str(smax_file),
        "--run_dir",
        str(tmp_path / "run"),
        "--labels.n_pairs",
        "6",
        "--data.k",
        "5",
    ]
    command = ["label", "--config", str(CONFIGS / "smacv2_zerg.yaml"), *options]
    assert main([*command, "--labels.labeller", "LLMLabeller", "--show", "2", "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8").count("=== FIRST EPISODE ===") == 2
    for wrong, words in (
        (["--show", "2", "--output", str(output)], "exists and is not replaced"),
        (["--show", "-1"], "show is -1, expected"),
        (["--output", str(output)], "goes with show alone"),
    ):
        capsys.readouterr()
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
