from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import harness, machine, report
from benchmarks.harness import Contestant, Group, Samples, Script, alternate, percentiles, ratios

CPU = torch.device("cpu")


def script(groups: list[Group], **options: Any) -> Script:
    def of(_: argparse.Namespace) -> Iterator[Group]:
        yield from groups

    return Script(name="toy", question="Is it so?", groups=of, memory=False, **options)


def toy_groups() -> list[Group]:
    x = torch.ones(64)
    base = Contestant("base", lambda: lambda: x.sum(), work=2)
    other = Contestant("other", lambda: lambda: x.sum(), work=4, target=1.5)
    return [Group(f"size_{n}", [base, other], "rows", {"size": n}) for n in (1, 2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    harness.main(script(toy_groups()), ["--rounds", "3", "--output", str(path)])
    return path


@pytest.fixture
def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(folder.glob("*.json")).read_text())
    return found


@pytest.mark.slow
def test_contestants_take_turns_in_reversed_order_every_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_clock_step", lambda: 0.0)
    calls: list[str] = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    samples = alternate(steps, rounds=3, warmup=1, device=CPU, min_seconds=0)
    assert "".join(calls) == "abc" + "abc" + "cba" + "abc"  # the warm-up, then three rounds
    assert [len(samples[name].wall) for name in "abc"] == [3, 3, 3]


def test_a_short_step_is_repeated_and_a_single_call_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(clock)))
    calls: list[int] = []
    # Every look at the clock is a second later: the warm-up seems to take 1 s, so 4 s need 4 calls.
    samples = alternate({"a": lambda: calls.append(1)}, rounds=2, warmup=1, device=CPU, min_seconds=4)
    assert len(calls) == 1 + 2 * 4
    assert samples["a"].wall == [0.25, 0.25]


def test_ratios_are_of_the_same_round_and_per_unit_of_work() -> None:
    # Round 1: (2 s / 10) / (1 s / 20) = 4; round 2: (3 / 10) / (3 / 20) = 2.
    assert ratios([2.0, 3.0], [1.0, 3.0], 10, 20) == pytest.approx([4.0, 2.0])


def test_percentiles() -> None:
    assert percentiles([float(n) for n in range(11)]) == (1.0, 5.0, 9.0)


def test_a_result_is_written_validates_and_reads_as_a_page(result: dict[str, Any], folder: Path) -> None:
    found = result
    assert report.problems(found) == []
    assert [row["short_name"] for row in found["results"]] == [
        "size_1/base",
        "size_1/other",
        "size_2/base",
        "size_2/other",
    ]
    base, other = found["results"][:2]
    assert "ratio_to" not in base
    assert other["ratio_to"] == "base"
    assert base["rounds"] == 3
    assert base["qps_p50"] == pytest.approx(2 / (base["cpu_runtime_p50_ms"] / 1e3), rel=1e-3)
    assert found["command"] == "python -m benchmarks.toy --rounds 3"  # no folder of this machine
    name = f"toy_{found['hardware']['name']}_{found['date']}"
    assert {path.name for path in folder.iterdir()} == {f"{name}.{end}" for end in ("json", "md", "png")}
    page = (folder / f"{name}.md").read_text()
    assert "Is it so?" in page
    assert "| size_2 | other |" in page


def test_cost_can_be_drawn_against_a_setting(tmp_path: Path) -> None:
    harness.main(script(toy_groups(), x_axis="size"), ["--smoke", "--output", str(tmp_path)])
    assert next(tmp_path.glob("*.png")).stat().st_size > 1000


def test_only_some_groups(tmp_path: Path) -> None:
    arguments = ["--smoke", "--only", "_2$", "--output", str(tmp_path)]
    found = json.loads(harness.main(script(toy_groups()), arguments).read_text())
    assert {row["group"] for row in found["results"]} == {"size_2"}
    assert found["smoke"]
    assert "its numbers say nothing" in report.markdown(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "format: 9; this reader knows 1"),
        ({"hardware": {}}, "hardware.threads: absent"),
        ({"results": [], "tables": []}, "both are empty"),
        ({"question": 3}, "question: int instead of str"),
        ({"command": "run --output /home/me/x"}, "a path of the machine"),
        (
            {"tables": [{"title": "", "columns": ["a"], "rows": [[1, 2]], "note": ""}]},
            r"tables[0]: rows of [2] cells, 1 columns",
        ),
    ],
)
def test_what_is_wrong_with_a_result_is_named(
    change: dict[str, Any], message: str, result: dict[str, Any]
) -> None:
    assert any(message in problem for problem in report.problems(result | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_runtime_p50_ms": -1.0}, "results[1].cpu_runtime_p*_ms"),
        ({"ratio_p10": 5e9}, "results[1].ratio_p*"),
        ({"qps_p90": float("nan")}, "results[1].qps_p*"),
        ({"unit": None}, "results[1].unit: absent or of a wrong type"),
        ({"short_name": "size_1/base"}, "'size_1/base' occurs twice"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(
    change: dict[str, Any], message: str, result: dict[str, Any]
) -> None:
    result["results"][1] |= change
    assert any(message in problem for problem in report.problems(result))


def test_a_result_lacks_a_key_or_is_none() -> None:
    assert "results: absent" in report.problems({})
    assert report.problems([]) == ["a result is an object, not list"]


def test_an_unknown_contestant_has_no_memory() -> None:
    with pytest.raises(SystemExit, match="no contestant 'size_1/nobody'"):
        harness.main(script(toy_groups()), ["--memory-of", "size_1/nobody"])


def test_memory_of_a_contestant_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    harness.main(script(toy_groups()), ["--memory-of", "size_1/base"])
    found = json.loads(capsys.readouterr().out)
    assert found["cpu_peak_rss_p50_mb"] >= found["cpu_rss_before_mb"] > 0


def test_a_new_result_takes_the_place_of_an_old_one_in_the_table(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    found = result
    for date, ratio in (("2001-01-01", 3.25), ("2001-01-02", 4.75)):
        found["results"][1] |= {f"ratio_p{p}": ratio for p in (10, 50, 90)}
        found["results"][1]["cpu_time_ratio_p50"] = ratio + 1
        found["date"] = date
        report.write(found, tmp_path / "table")
    (tmp_path / "table" / "another_form.json").write_text("{}")
    table = report.readme_table(tmp_path / "table")
    assert "| 4.75 (4.75-4.75) | 5.75 | 1.5 | reached |" in table
    assert "3.25" not in table


@pytest.mark.parametrize(
    ("threads", "row", "expected"),
    [
        (2, {"ratio_p50": 1.4, "cpu_time_ratio_p50": 1.6}, "missed"),
        (1, {"ratio_p50": 1.4, "cpu_time_ratio_p50": 1.6}, "reached"),  # one thread: CPU time decides
        (1, {"ratio_p50": 1.4, "cpu_time_ratio_p50": 1.6, "gpu_runtime_p50_ms": 1.0}, "missed"),
        (2, {"ratio_p50": 1.5}, "reached"),
    ],
)
def test_verdict(threads: int, row: dict[str, float], expected: str) -> None:
    assert report.verdict({"hardware": {"threads": threads}}, {"target": 1.5, **row}) == expected


def test_cpu_time_is_measured_beside_the_wall_clock() -> None:
    samples = alternate({"sleep": lambda: time.sleep(0.02)}, rounds=1, warmup=0, device=CPU)
    assert samples["sleep"].cpu[0] < samples["sleep"].wall[0]


@pytest.fixture
def cpu_clock_of_ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock of CPU time that advances by 10 ms at a time, as where the system counts ticks."""
    monkeypatch.setattr(time, "process_time", lambda: time.perf_counter() // 0.01 * 0.01)
    machine.cpu_clock_step.cache_clear()
    yield
    machine.cpu_clock_step.cache_clear()


@pytest.mark.usefixtures("cpu_clock_of_ticks")
def test_cpu_time_of_a_short_step_is_measured_by_a_clock_of_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.cpu_clock_step() > 0.0099
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert 0 < machine.best_seconds(lambda: sum(range(1000)), CPU, 0.01) < 0.01  # some 10 us
    samples = alternate({"a": lambda: sum(range(1000))}, rounds=2, warmup=3, device=CPU)
    assert min(samples["a"].cpu) > 0


@pytest.mark.usefixtures("cpu_clock_of_ticks")
def test_cpu_time_is_at_least_a_step_of_its_clock() -> None:
    into = Samples()
    with harness.measured(into, CPU):
        pass
    assert into.cpu[0] > 0.0099


def test_a_group_can_ask_for_fewer_rounds(tmp_path: Path) -> None:
    of = toy_groups()[0]
    slow = Group(of.name, of.contestants, of.unit, of.settings, rounds=2)
    path = harness.main(script([slow]), ["--rounds", "9", "--output", str(tmp_path)])
    assert {row["rounds"] for row in json.loads(path.read_text())["results"]} == {2}


def test_the_table_goes_between_the_marks() -> None:
    page = f"before\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nafter\n"
    assert report.with_table(page, "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="exactly once"):
        report.with_table("no marks", "new")


def test_the_hardware_is_named_without_the_machine() -> None:
    hardware = machine.describe(CPU)
    assert hardware["name"] == machine.short_name(CPU)
    assert hardware["name"].endswith(f"_{machine.cores()}core")
    assert machine.matmul_rates([(8, 8, 8)], torch.float32, CPU, seconds=0.01) > 0
    assert "torch" in machine.versions()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_by_its_own_clock() -> None:
    device = torch.device("cuda")
    x = torch.ones(1024, 1024, device=device)
    samples = alternate({"a": lambda: x @ x}, rounds=2, warmup=1, device=device)
    assert isinstance(samples["a"], Samples)
    assert len(samples["a"].gpu) == 2
    assert machine.short_name(device).startswith("nvidia")


def test_committed_results_validate() -> None:
    for path in harness.RESULTS.glob("*.json"):
        found = json.loads(path.read_text())
        if "format" in found:
            assert report.problems(found) == [], path.name
