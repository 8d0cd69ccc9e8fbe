"""`misodice report` on folders of made-up runs and on a real one."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.report.groups import METHODS
from tests.helpers.cli import fit
from tests.report.conftest import VERSIONS

FLIP = "labels.labeller.flip"


def report(tmp_path: Path, status: int = 0) -> str:
    """Run it on tmp_path/runs; the page."""
    out = tmp_path / "report"
    assert main(["report", "--runs", str(tmp_path / "runs"), "--output", str(out)]) == status
    return (out / "index.html").read_text() if status == 0 else ""


def entries(tmp_path: Path, table: str) -> list[dict[str, str]]:
    """Our lines of a table's CSV."""
    with (tmp_path / "report" / "tables" / f"{table}.csv").open() as file:
        return [row for row in csv.DictReader(file) if not row["paper"]]


def test_mean_and_deviation_of_three_seeds_in_every_format(make_run, tmp_path, capsys):
    for seed, mean in enumerate([1.0, 1.2, 1.7]):
        make_run("misodice", seed, mean)
        make_run("bc_1", seed, 0.5)
    page = report(tmp_path)
    values = {row["method"]: row for row in entries(tmp_path, "smax_return")}
    assert float(values["misodice"]["mean"]) == pytest.approx(1.3)
    assert float(values["misodice"]["std"]) == pytest.approx(np.std([1.0, 1.2, 1.7], ddof=1))
    assert values["misodice"]["seeds"] == "3"
    tables = tmp_path / "report" / "tables"
    assert "| zerg_5_vs_5 | 0.50 ± 0.00 | **1.30 ± 0.36** |" in (tables / "smax_return.md").read_text()
    assert r"zerg\_5\_vs\_5 & 0.50 $\pm$ 0.00 & \textbf{1.30 $\pm$ 0.36} \\" in (tables / "smax_return.tex").read_text()
    assert '<td class="best">1.30 ± 0.36</td>' in page
    names = ("return", "win_rate", "normalised_score", "over_tasks")
    assert {path.stem for path in tables.glob("*.csv")} == {f"smax_{name}" for name in names}
    printed = capsys.readouterr().out
    assert "1.30 ± 0.36" in printed
    assert "left out: nothing" in printed
    assert f"written: {tmp_path / 'report' / 'index.html'}" in printed


def test_the_papers_values_stand_in_lines_of_their_own(make_run, tmp_path):
    make_run("misodice", 0, 1.3)
    make_run("misodice", 0, 3000.0, "Hopper")
    page = report(tmp_path)
    text = (tmp_path / "report" / "tables" / "smax_return.md").read_text()
    assert text.endswith("| zerg_5_vs_5 | 1.30 |\n| paper (Table 11, rule) | 7.4 ± 0.5 |\n")
    win_rate = (tmp_path / "report" / "tables" / "smax_win_rate.md").read_text()
    assert win_rate.endswith("| zerg_5_vs_5 | 40.0 |\n| paper (Table 12, rule) | 6.6 ± 1.0 |\n")
    assert "another game" in page
    assert "206.5 ± 22.5" in (tmp_path / "report" / "tables" / "mamujoco_return.md").read_text()
    assert "data that misodice made" in page


def test_methods_stand_in_the_papers_order(make_run, tmp_path):
    for method in (*reversed(METHODS), "mine"):
        make_run(method)
    report(tmp_path)
    head = (tmp_path / "report" / "tables" / "smax_return.md").read_text().splitlines()[2]
    assert head == "| task | BC β=0 | BC β=0.5 | BC β=1 | OMAPL | INDD | MARL-SL | VDN | mine | MisoDICE |"


@pytest.mark.parametrize(
    "other",
    [
        {"summary": {"versions": VERSIONS | {"torch": "2.12.0"}}},
        {"summary": {"env": {"engine": "smax", "task": "zerg_5_vs_5", "version": "0.1.0"}}},
        {"summary": {"engine": "starcraft2"}},
        {"summary": {"data": {"path": "data/other.h5", "digest": "another"}}},
        {"task": "zerg_10_vs_10"},
        {"options": {"data.k": 50}},
        {"options": {"value.alpha": 0.5}},
        {"options": {"data.ranking": "oracle"}},
        {"options": {FLIP: 0.1}},
        {"options": {"labels.labeller": {"class_path": "misodice.labelling.OracleLabeller"}}},
        {"options": {"policy.epochs": 21}},
    ],
    ids=str,
)
def test_runs_that_differ_are_never_averaged(make_run, tmp_path, other):
    for seed in range(2):
        make_run(seed=seed, mean=1.0)
    make_run(seed=2, mean=100.0, folder="other", **other)
    report(tmp_path)
    found = [
        row for path in (tmp_path / "report" / "tables").glob("*_return.csv") for row in entries(tmp_path, path.stem)
    ]
    assert {(float(row["mean"]), row["seeds"]) for row in found} == {(1.0, "2"), (100.0, "1")}


def test_where_and_how_a_run_was_shown_is_no_difference(make_run, tmp_path):
    make_run(seed=0, mean=1.0)
    other = {"trainer.enable_progress_bar": False, "labels.path": "shared.jsonl", "labels.labeller.seed": 1}
    make_run(
        seed=1,
        mean=2.0,
        options={**other, "trainer.default_root_dir": "elsewhere", "data.path": "copy.h5", "shared_stages": "x"},
    )
    report(tmp_path)
    assert [row["mean"] for row in entries(tmp_path, "smax_return")] == ["1.5"]


def test_sections_of_one_engine_say_which_versions_differ(make_run, tmp_path):
    make_run()
    make_run(folder="old", summary={"versions": VERSIONS | {"torch": "2.12.0"}})
    page = report(tmp_path)
    assert "because other versions made them: torch 2.12.0 here" in page
    assert "because other versions made them: torch 2.13.0 here" in page


def test_an_option_that_varies_becomes_a_study(make_run, tmp_path):
    for seed in range(2):
        for method in ("bc_1", "misodice"):
            make_run(method, seed, 1.5)
        for k, mean in ((50, 1.1), (1200, 1.2)):
            make_run("misodice", seed, mean, options={"data.k": k}, folder=f"k_{k}")
        make_run("misodice", seed, 1.0, options={FLIP: 0.3}, folder="flip")
        make_run("bc_1", seed, 0.9, options={FLIP: 0.3}, folder="flip")
    page = report(tmp_path)
    assert {row["method"]: row["mean"] for row in entries(tmp_path, "smax_return")} == {
        "bc_1": "1.5",
        "misodice": "1.5",
    }
    by_k = [(row["setting"], float(row["mean"])) for row in entries(tmp_path, "smax_K_return")]
    assert by_k == [("K = 50", 1.1), ("K = 200", 1.5), ("K = 1200", pytest.approx(1.2))]
    assert (
        "| paper (Table 6, llm:gpt-4o) | 7.4 ± 0.4 | 7.5 ± 0.1 | 6.2 ± 0.5 |"
        in (tmp_path / "report" / "tables" / "smax_K_return.md").read_text()
    )
    flipped = {(row["setting"], row["method"]): row["mean"] for row in entries(tmp_path, "smax_labels_return")}
    assert flipped[("labels = rule, 30% flipped", "bc_1")] == "0.9"
    assert flipped[("labels = rule", "misodice")] == "1.5"
    assert (tmp_path / "report" / "figures" / "smax_K_zerg_5_vs_5_return_box.svg").is_file()
    assert 'id="smax_K"' in page


def test_settings_of_two_options_and_twins_are_told_apart(make_run, tmp_path):
    make_run("misodice", 0, 1.5)
    make_run("bc_1", 0, 1.5)
    for folder, mean, moments in (("a", 1.1, 4), ("b", 1.2, 8)):
        describer = {"class_path": "misodice.labelling.UnitDescriber", "init_args": {"moments": moments}}
        arguments = {"model": "gpt-4o", "describer": describer}
        labeller = {"class_path": "misodice.labelling.LLMLabeller", "init_args": arguments}
        make_run(mean=mean, options={"labels.labeller": labeller}, folder=folder)
    make_run(mean=1.3, options={"data.k": 50, "value.alpha": 1.0}, folder="c")
    report(tmp_path)
    settings = {row["setting"]: float(row["mean"]) for row in entries(tmp_path, "smax_labels_return")}
    twin = "labels = llm:gpt-4o, labels.labeller.describer.moments = "
    assert settings == {f"{twin}4": 1.1, f"{twin}8": 1.2, "labels = rule": 1.5}
    both = {row["setting"]: float(row["mean"]) for row in entries(tmp_path, "smax_K_alpha_return")}
    assert both == {"K = 50, α = 1.0": 1.3, "K = 200, α = 0.05": 1.5}


def test_a_study_of_classes_is_written_in_few_words(make_run, tmp_path):
    make_run()
    weighting = [{"class_path": "my.Share", "init_args": {"p": 0.5}}]
    mixer = {"class_path": "my.Mixer", "init_args": {"width": 8}}
    for name, option in {"policy.weighting": weighting, "value.mixer": mixer}.items():
        folder = make_run(mean=1.1, options={name: option}, folder=name)
        (folder / "cell.json").write_text(json.dumps({"status": "done", "variant": name}))
    report(tmp_path)
    weighting = [row["setting"] for row in entries(tmp_path, "smax_policy.weighting_return")]
    assert sorted(weighting) == ["policy.weighting = ByEpisode, TopP(top_p=0.8)", "policy.weighting = Share(p=0.5)"]
    mixers = [row["setting"] for row in entries(tmp_path, "smax_value.mixer.class_path_return")]
    assert sorted(mixers) == ["value.mixer.class_path = HyperMixer", "value.mixer.class_path = Mixer"]


def test_methods_without_an_option_of_the_base_stand_beside_the_others(make_run, tmp_path):
    for method in ("bc_0", "bc_05", "bc_1", "misodice"):  # most of them have no α
        make_run(method)
    make_run(mean=1.2, options={"value.alpha": 1.0}, folder="a")
    report(tmp_path)
    assert [row["method"] for row in entries(tmp_path, "smax_return")] == ["bc_0", "bc_05", "bc_1", "misodice"]
    assert [row["setting"] for row in entries(tmp_path, "smax_alpha_return")] == ["α = 0.05", "α = 1.0"]


def test_aggregates_take_each_engine_alone(make_run, tmp_path):
    for seed in range(2):
        make_run("misodice", seed, 1.5)
        make_run("bc_1", seed, 0.75)
        make_run("misodice", seed, 600.0, "Hopper")
    page = report(tmp_path)
    row = re.search(r"<tr><th>BC β=1</th><td>1</td><td>2</td>(.*?)</tr>", page)[1]
    assert re.findall(r"<td>(.*?)</td>", row) == ["0.50 [0.50, 0.50]", "0.50 [0.50, 0.50]", "1.00 [1.00, 1.00]"]
    assert "<td>0.20 [0.20, 0.20]</td><td>0.80 [0.80, 0.80]</td><td>–</td>" in page
    head, _, *lines = (tmp_path / "report" / "tables" / "smax_over_tasks.md").read_text().splitlines()[2:]
    assert head == "| method | tasks | scores | interquartile mean | optimality gap | P(MisoDICE better) |"
    assert lines[0] == "| BC β=1 | 1 | 2 | 0.50 [0.50, 0.50] | 0.50 [0.50, 0.50] | 1.00 [1.00, 1.00] |"
    assert lines[1] == "| MisoDICE | 1 | 2 | 1.00 [1.00, 1.00] | 0.00 [0.00, 0.00] | – |"
    lines = (tmp_path / "report" / "tables" / "mamujoco_over_tasks.csv").read_text().splitlines()
    assert lines[0] == "method,tasks,scores,figure,value,low,high"
    assert lines[1:] == ["misodice,1,2,interquartile_mean,0.2,0.2,0.2", "misodice,1,2,optimality_gap,0.8,0.8,0.8"]


def test_what_cannot_be_used_is_said_and_does_not_stop_the_report(make_run, tmp_path, capsys):
    make_run("misodice", 0, 1.5)
    failed = make_run("misodice", 1, 9.0)  # its summary.json is of an earlier try
    cell = {"status": "failed", "reason": "stage value: loss is NaN & void", "tries": 2}
    (failed / "cell.json").write_text(json.dumps(cell))
    running = make_run("misodice", 2, 9.0)
    (running / "cell.json").write_text(json.dumps({"status": "running", "reason": None, "tries": 1}))
    (make_run("misodice", 3) / "summary.json").unlink()
    (make_run("misodice", 4) / "summary.json").write_text('{"task": ')
    make_run("misodice", 5, summary={"rollout": None})
    make_run("misodice", 6, summary={"rollout": {"return_mean": float("nan")}})
    (make_run("misodice", 7) / "config.yaml").unlink()
    make_run("misodice", 0, 1.5, folder="again")
    (make_run("bc_1", 0) / "metrics.csv").unlink()
    grid = {"name": "quick", "cells": [{"folder": "zerg_5_vs_5/misodice/seed_0"}, {"folder": "never/seed_0"}]}
    (tmp_path / "runs" / "grid.json").write_text(json.dumps(grid))
    page = report(tmp_path)
    assert {row["seeds"] for row in entries(tmp_path, "smax_return")} == {"1"}
    said = page[page.index('id="left-out"') :]
    for words in (
        *(
            "loss is NaN &amp; void (tries: 2)",
            "it runs still, or was killed",
            "fit has not ended",
            "cannot be read as JSON",
        ),
        *(
            "trained without an environment",
            "return_mean is nan",
            "so its settings are unknown",
            "its seed are those of",
        ),
        *("no learning curve", "never/seed_0</code>: has not run"),
    ):
        assert words in said, words
    assert "left out: " in (printed := capsys.readouterr().out)
    assert "1 failed" in printed
    assert "1 missing" in printed


def test_a_report_of_failures_alone_still_says_why(make_run, tmp_path):
    cell = {"status": "failed", "reason": "worker killed", "tries": 3}
    (make_run() / "cell.json").write_text(json.dumps(cell))
    assert "worker killed (tries: 3)" in report(tmp_path)


def test_a_folder_without_runs(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    report(tmp_path, status=2)
    assert "summary.json" in capsys.readouterr().err
    assert main(["report", "--runs", str(tmp_path / "absent"), "--output", str(tmp_path / "report")]) == 2
    assert "absent is no folder" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_an_output_that_cannot_be_written(make_run, tmp_path, capsys):
    make_run()
    (tmp_path / "report").write_text("a file")
    report(tmp_path, status=2)
    assert "report is a file, expected a folder" in capsys.readouterr().err


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.anchors: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.append(found.get("id", ""))
        for name in ("src", "href", "xlink:href"):
            link = found.get(name, "#")
            (self.targets if link.startswith("#") else self.outside).append(link)


def test_the_page_needs_no_network_and_its_links_lead_somewhere(make_run, tmp_path):
    for seed in range(2):
        run = make_run("misodice", seed)
        make_run("misodice", seed, options={"data.k": 50}, folder="k_50")
    (run / "labels.png").write_bytes(b"\x89PNG of the ranking")
    page = report(tmp_path)
    links = Links()
    links.feed(page)
    assert [link[:22] for link in links.outside] == ["data:image/png;base64,"]
    assert {target[1:] for target in links.targets if len(target) > 1} <= set(links.anchors)
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page
    assert "torch 2.13.0" in page
    assert "n_pairs: 2000" in page


def test_curves_are_cut_to_the_epochs_that_all_seeds_have(make_run, tmp_path):
    make_run(seed=0)
    short = make_run(seed=1) / "metrics.csv"
    short.write_text("\n".join(short.read_text().splitlines()[:5]) + "\n")
    report(tmp_path)
    svg = (tmp_path / "report" / "figures" / "smax_zerg_5_vs_5_return_curve.svg").read_text()
    assert ">14</text>" in svg
    assert ">60</text>" not in svg


def test_a_real_run(smax_file, tmp_path):
    fit(tmp_path / "runs" / "seed_0", smax_file, config="smacv2_zerg")
    summary = json.loads((tmp_path / "runs" / "seed_0" / "summary.json").read_text())
    assert summary["env"]["version"]
    assert summary["data"]["path"] == str(smax_file)
    report(tmp_path)
    (row,) = entries(tmp_path, "smax_return")
    assert float(row["mean"]) == pytest.approx(summary["rollout"]["return_mean"])
    assert (tmp_path / "report" / "figures" / "smax_zerg_5_vs_5_return_curve.svg").is_file()
    assert (tmp_path / "report" / "figures" / "smax_labels_quality.svg").is_file()
    labels = summary["labels"]
    before_and_after = f"| {labels['win_counts']['quality']:.2f} → {labels['quality']:.2f} |"
    assert before_and_after in (tmp_path / "report" / "tables" / "smax_labels.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_nothing_is_wider_than_a_phone(make_run, tmp_path):
    for method in METHODS:
        for seed in range(2):
            make_run(method, seed, 4000.0, "Hopper")
            make_run(method, seed, 1.0, options={FLIP: 0.1}, folder="a_study")
            make_run(method, seed, 1.0)
    report(tmp_path)
    (tmp_path / "phone.html").write_text(
        f"""<iframe id="page" src="{(tmp_path / "report" / "index.html").as_uri()}" style="width: 390px"></iframe>
        <script>onload = () => {{
          const page = document.getElementById("page").contentDocument.documentElement;
          document.body.dataset.widths = page.scrollWidth + " of " + page.clientWidth;
        }}</script>"""
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    page = subprocess.run(
        ["chromium", *options, (tmp_path / "phone.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    scrolled, width = re.search(r'data-widths="(\d+) of (\d+)"', page).groups()
    assert int(scrolled) <= int(width)


def test_a_page_of_somebody_else_is_kept(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    page = tmp_path / "mine" / "index.html"
    page.write_text("<h1>my page</h1>")
    (tmp_path / "file").write_text("x")
    for output, words in (
        ("mine", "is no report of misodice and is not replaced"),
        ("file", "is a file, expected a folder"),
    ):
        assert main(["report", "--runs", str(tmp_path), "--output", str(tmp_path / output)]) == 2
        assert words in capsys.readouterr().err
    assert page.read_text() == "<h1>my page</h1>"
