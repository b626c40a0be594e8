"""The golden cases as tests. The folder lies next to the project, or where INTERACTRANK_GOLDEN says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parity.run import ADAPTERS, Outcome, notes, run_case, summary

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("INTERACTRANK_GOLDEN", ROOT.parent / "shared" / "golden"))
ABSENT = f"no golden case in {FOLDER}: set INTERACTRANK_GOLDEN to a folder of them"
MAY_BE_SKIPPED = {"img_sig_to_id", "clip_adam"}

needs_golden = pytest.mark.skipif(not notes(FOLDER), reason=ABSENT)


@pytest.mark.parametrize("note", [pytest.param(p, id=p.stem) for p in notes(FOLDER)] or [
    pytest.param(None, id="absent", marks=pytest.mark.skip(reason=ABSENT))
])  # fmt: skip
def test_golden_case(note):
    outcome = run_case(note)
    if outcome.status == "skipped":
        assert note.stem.split("__")[0] in MAY_BE_SKIPPED, outcome.text
        pytest.skip(outcome.text)
    assert outcome.status == "passed", outcome.text


def command(folder):
    call = [sys.executable, "-m", "tests.parity", "--golden", str(folder)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@needs_golden
def test_an_unknown_component_and_a_wrong_value_fail_the_command(tmp_path):
    for source, name, component in (
        ("lp_normalize__heads", "novelty__x", "novelty"),
        ("layer_norm__last", "layer_norm__last", "layer_norm"),
    ):
        note = json.loads((FOLDER / f"{source}.json").read_text())
        note["component"] = component
        note["params"]["eps"] = 0.1  # not what the outputs were made with
        (tmp_path / f"{name}.json").write_text(json.dumps(note))
        (tmp_path / f"{name}.safetensors").write_bytes((FOLDER / f"{source}.safetensors").read_bytes())
    done = command(tmp_path)
    assert done.returncode == 1
    assert "unknown component 'novelty'" in done.stdout
    assert "out.y is off by" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 2 failed, 0 skipped"


@pytest.mark.slow
def test_an_empty_folder_fails_the_command(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 1
    assert "no golden case" in done.stderr


def test_summary():
    outcomes = [Outcome("a", "passed", ""), Outcome("b", "skipped", ""), Outcome("c", "passed", "")]
    assert summary(outcomes) == "2 passed, 0 failed, 1 skipped"


@needs_golden
def test_every_component_of_the_folder_has_an_adapter():
    components = {path.stem.split("__")[0] for path in notes(FOLDER)}
    assert components <= ADAPTERS.keys() | MAY_BE_SKIPPED
