"""`misodice doctor` on this machine, and where packages, the game and the server are not as they should be."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from misodice import doctor
from misodice.cli.main import main
from misodice.doctor import PROBES, Check, Probe, diagnose, main_job

KEY = "sk-a-secret-key"
MAIN_JOB = {"torch", "lightning", "misodice", "jaxmarl", "smacv2", "game", "maps", "engine"}
FEWER_PROBES = f"""
import runpy
from misodice import doctor

doctor.PROBES = [one for one in doctor.PROBES if one.probe in {MAIN_JOB | {"ray"}}]
runpy.run_module("misodice", run_name="__main__")
"""
"""The command line, without what the test does not look at: each probe starts a process and imports a library."""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """No game, no key, and all the time that a busy machine needs."""
    monkeypatch.setenv("SC2PATH", str(tmp_path / "no_game"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 400.0)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder whose packages come before the installed ones."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


def probe(name) -> Probe:
    return next(one for one in PROBES if one.probe == name)


def test_everything_the_tests_need_is_well(capsys):
    assert main(["doctor", "--json", "true"]) == 0
    said = json.loads(capsys.readouterr().out)
    status = {check["name"]: check["status"] for check in said["checks"]}
    missing = {"smacv2", "StarCraft II", "StarCraft II maps", "LLM key", "LLM endpoint"}
    # Drawing takes a library of the system's.
    assert {name for name, value in status.items() if value != "ok"} - {"MuJoCo rendering"} == missing
    assert said["main_job"]
    assert "on the engine smax: misodice fit --config configs/smacv2_zerg.yaml" in said["verdict"]
    for check in said["checks"]:
        assert check["found"]
        assert bool(check["remedy"]) == (check["status"] != "ok")


@pytest.mark.slow
def test_without_an_engine_the_main_job_cannot_run_and_the_table_says_why(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "PROBES", [one for one in PROBES if one.probe in MAIN_JOB])
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "The main job cannot run on the engine smax: jaxmarl (engine smax) is missing\n" in said
    words = " ".join(said.split())
    assert "no package jaxmarl" in words
    assert "'misodice[smax]'" in words


def test_a_broken_torch_and_a_crashing_ray_are_found_and_survived(site):
    (site / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    (site / "ray.py").write_text("import os\nprint('starting')\nos.abort()\n")
    done = subprocess.run(
        [sys.executable, "-c", FEWER_PROBES, "doctor", "--json", "true"], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["torch"]["status"] == checks["misodice"]["status"] == "broken"
    assert checks["torch"]["found"] == "OSError: libcudart.so.13: cannot open shared object file"
    assert "torch is broken" in said["verdict"]
    ray = checks["Ray (benchmark)"]
    assert (ray["status"], ray["found"].startswith("its process died of SIGABRT")) == ("broken", True)
    assert done.stderr == ""


def test_a_package_that_hangs_is_ended_with_its_children(site, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 1.0)
    (site / "ray.py").write_text("import subprocess\nsubprocess.run(['sleep', '1000'])\n")
    check = doctor._probe(probe("ray"))
    assert (check.status, check.found, check.remedy) == ("broken", "no end in 1 s", "pip install 'misodice[benchmark]'")


def test_the_game_and_its_package_are_the_engine_where_they_are(site, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROBES", [one for one in PROBES if one.probe in MAIN_JOB])
    ask, well = doctor._probe, ("torch", "lightning", "misodice", "jaxmarl")
    # These are asked in another test, and each takes seconds to import.
    monkeypatch.setattr(doctor, "_probe", lambda one: Check(one.name, "ok", "") if one.probe in well else ask(one))
    monkeypatch.syspath_prepend(str(site))
    (site / "smacv2").mkdir()
    (site / "smacv2" / "__init__.py").touch()
    (site / "smacv2" / "env.py").write_text("class StarCraft2Env: ...\n")
    (site / "smacv2-1.0.dist-info").mkdir()
    (site / "smacv2-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: smacv2\nVersion: 1.0\n")
    game = tmp_path / "game"
    game.mkdir()
    monkeypatch.setenv("SC2PATH", str(game))

    by_name = {check.name: check for check in diagnose()}
    assert by_name["smacv2"] == Check("smacv2", "ok", "1.0")
    assert by_name["StarCraft II"].status == "broken"
    assert "has no Versions/Base*" in by_name["StarCraft II"].found
    able, verdict = main_job(list(by_name.values()))
    assert not able
    assert "cannot run on the engine starcraft2: StarCraft II is broken, StarCraft II maps is missing" in verdict
    assert "with --env SMAX it can" in verdict

    (game / "Versions" / "Base75689").mkdir(parents=True)
    (game / "Versions" / "Base75689" / "SC2_x64").touch()
    (game / "Maps" / "SMAC_Maps").mkdir(parents=True)
    (game / "Maps" / "SMAC_Maps" / "32x32_flat.SC2Map").touch()
    found = {name: doctor._probe(probe(name)) for name in ("game", "maps")}
    assert found["game"] == Check("StarCraft II", "ok", f"Base75689 in {game}")
    assert found["maps"] == Check("StarCraft II maps", "ok", f"1 in {game / 'Maps' / 'SMAC_Maps'}")
    by_name |= {check.name: check for check in found.values()}
    by_name["jaxmarl (engine smax)"] = replace(by_name["jaxmarl (engine smax)"], status="missing")
    assert main_job(list(by_name.values())) == (
        True,
        "The main job can run, on the engine starcraft2: misodice fit --config configs/smacv2_zerg.yaml",
    )


@contextmanager
def server(answer):
    """A server on loopback; yields its address and the requests' headers."""
    seen, stop = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            if answer == "never":
                stop.wait()
                return
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1", seen
    finally:
        stop.set()
        http.shutdown()
        http.server_close()


MODELS = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in "ab"]}).encode()
ECHO = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()


@pytest.mark.parametrize(
    ("answer", "status", "found"),
    [
        ((200, MODELS), "ok", "2 models"),
        ((401, ECHO), "broken", "does not accept the key (HTTP 401)"),
        ((404, ECHO), "broken", "has no list of models at this address (HTTP 404)"),
        ((500, ECHO), "broken", "answers with an error (HTTP 500)"),
        ("never", "broken", "no answer in 5 s"),
    ],
)
def test_the_endpoint_is_asked_for_its_models(monkeypatch, capfd, answer, status, found):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(doctor, "PROBES", [])
    monkeypatch.setattr(doctor, "main_job", lambda checks: (True, ""))
    with server(answer) as (url, seen):
        assert main(["doctor", "--base_url", url.replace("//", "//me:password@"), "--json", "true"]) == 0
    said = "".join(capfd.readouterr())
    check = json.loads(said)["checks"][-1]
    assert (check["name"], check["status"], check["found"]) == ("LLM endpoint", status, f"{url}: {found}")
    assert seen[0][0] == "/v1/models"
    assert KEY not in said
    assert "password" not in said


def test_a_server_that_is_not_there_and_a_key_that_cannot_be_sent(monkeypatch):
    with server((200, MODELS)) as (url, _):
        pass
    check = doctor._endpoint(url)
    assert (check.status, check.found) == ("broken", f"{url}: no connection")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    with server((200, MODELS)) as (url, _):
        check = doctor._endpoint(url)
    assert check.status == "broken"
    assert KEY not in check.found
