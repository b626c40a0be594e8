"""`interactrank plan` and `train --plan` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from interactrank import components
from interactrank.cli import main, parse
from interactrank.commands.plan import cluster
from interactrank.data import prepare_log
from interactrank.sharding.planner.cluster import Cluster, Speeds
from tests.trained import VALUES, config, raw_log

GIB = 2**30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A config and its prepared log."""
    folder = Path(tmp_path_factory.mktemp("plan"))
    (folder / "run.yaml").write_text(yaml.safe_dump(VALUES))
    settings = config()
    prepare_log(raw_log(folder / "log"), folder / "prepared", settings.search, settings.prepare)
    return folder / "run.yaml", folder / "prepared"


def test_options_become_a_cluster() -> None:
    line = "plan a.yaml --nodes 4 --gpus-per-node 2 --hbm 80GiB --ddr 1TB --speed hbm=3TB"
    options = parse([*line.split(), "--speed", "between=50GB", "--rows", "item=1e9", "training.seed=1"])
    assert cluster(options) == Cluster(
        nodes=4, ranks_per_node=2, hbm=80 * GIB, ddr=10**12, speeds=Speeds(hbm=3 * 10**12, between=50 * 10**9)
    )
    assert (options.rows, options.overrides) == ([("item", 1e9)], ["training.seed=1"])
    assert cluster(parse(["plan", "a.yaml", "--cpu"])) == Cluster(
        ranks_per_node=8, device="cpu", ddr=200 * GIB
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--hbm", "80 gigs"], "'80 gigs' is not a size above 0"),
        (["--rows", "item"], "'item': write a name and a number above 0, such as item=1e9"),
        (["--ids", "words=-1"], "'words=-1': write a name and a number above 0"),
        (
            ["--speed", "disk=1GB"],
            "'disk=1GB': write NAME=SIZE with a name of hbm, ddr, hbm_ddr, within, between",
        ),
        (["--nodes", "x"], "invalid int value"),
        (["--rows", "item=0.3"], "'item=0.3': rows must be a whole number"),
        (["--rows", "item=0"], "'item=0': write a name and a number above 0"),
        (["--candidates", "nan"], "'nan': write a number above 0"),
        (["--candidates", "0"], "'0': write a number above 0"),
        (["--candidates=-3"], "'-3': write a number above 0"),
    ],
)
def test_what_is_not_accepted(option: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["plan", "a.yaml", *option])
    assert said in capsys.readouterr().err


def test_a_plan_for_gpus_that_are_not_there(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = run
    output = tmp_path / "plan.json"
    arguments = ["plan", str(path), "--data", str(data), "--nodes", "2", "--output", str(output)]
    assert main([*arguments, "--rows", "item=1e8"]) == 0
    said = capsys.readouterr()
    assert "2 nodes x 8 GPUs, each 80.0 GiB" in said.out
    assert "ms of a step (estimated, " in said.out
    values = json.loads(output.read_text())
    (item,) = [of for name, of in values["tables"].items() if name.endswith(".item")]
    assert item["rows"] == 10**8
    assert output.with_suffix(".png").read_bytes()[1:4] == b"PNG"


@pytest.mark.slow
def test_unknown_sizes_and_tables_without_room_are_said_in_a_line(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = run
    assert main(["plan", str(path), "--output", str(tmp_path / "p.json")]) == 1
    assert "are counted when the log is prepared" in capsys.readouterr().err
    assert main(["plan", str(path), "--data", str(data), "--nodes", "0"]) == 1
    assert "nodes is 0; it must be at least 1" in capsys.readouterr().err
    small = ["--gpus-per-node", "1", "--hbm", "1GiB", "--ddr", "1GiB", "--rows", "item=1e9"]
    refused = ["plan", str(path), "--data", str(data), *small, "--output", str(tmp_path / "p.json")]
    assert main(refused) == 1
    assert "add --suggest" in capsys.readouterr().err
    assert main([*refused, "--suggest"]) == 1
    assert "nearest fixes, each by itself and tried:" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()


def test_train_follows_a_plan_or_refuses_it_by_table(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = run
    plan, model = tmp_path / "plan.json", tmp_path / "model"
    sized = ["plan", str(path), "--data", str(data), "--cpu", "--gpus-per-node", "1", "--output", str(plan)]
    assert main(sized) == 0
    values = json.loads(plan.read_text())
    name = next(iter(values["tables"]))
    train = ["train", str(path), "--data", str(data), "--plan", str(plan), "training.steps=1"]
    values["tables"][name]["ranks"] = "3"
    plan.write_text(json.dumps(values))
    assert main([*train, "--output", str(tmp_path / "refused")]) == 1
    assert f"table {name}: ranks 3 are outside of this job's 1 (from 0)" in capsys.readouterr().err
    assert not (tmp_path / "refused" / "model.safetensors").exists()
    values["tables"][name] |= {"ranks": "0", "sharding": "table_wise"}
    plan.write_text(json.dumps(values))
    assert main([*train, "--output", str(model)]) == 0
    followed = json.loads((model / "plan.json").read_text())["tables"]
    assert followed[name]["sharding"] == "table_wise"


def test_the_component_hands_a_plan_over() -> None:
    app = components.train(config="run.yaml", data="prepared", output="runs/a", plan="plan.json", j="1x2")
    assert "--plan plan.json" in app.roles[0].args[1]
    understood = parse(["train", "c", "--data", "d", "--output", "o", "--plan", "plan.json"])
    assert understood.plan == Path("plan.json")
