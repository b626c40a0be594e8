"""The request that torchx would send to Kubernetes; nothing is sent, and no cluster is needed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("torchx")
pytest.importorskip("kubernetes")

import yaml
from torchx.schedulers.kubernetes_scheduler import create_scheduler

from interactrank import components

MOUNT = "type=volume,src=claim,dst=/mnt,type=bind,src=/scratch,dst=/tmp/scratch,readonly"


def request(**changes: Any) -> dict[str, Any]:
    """As it would be sent, for two of four machines with eight GPUs each."""
    app = components.train(
        "training.steps=200",
        config="/mnt/mine.yaml",
        data="/mnt/prepared log",
        output="/mnt/runs/a",
        **{"j": "2:4x8", "gpu": 8, "cpu": 96, "memMB": 900_000, "max_restarts": 10, **changes},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchx on retries in Volcano 1.4
        found = create_scheduler("test").submit_dryrun(app, {"queue": "default"}).request
    assert not found.images_to_push
    sent: dict[str, Any] = yaml.safe_load(str(found))
    return sent


def container(task: dict[str, Any]) -> dict[str, Any]:
    (only,) = task["template"]["spec"]["containers"]
    return only


def test_two_of_four_machines_are_enough_and_the_first_is_where_they_meet() -> None:
    sent = request()
    assert (sent["kind"], sent["apiVersion"]) == ("Job", "batch.volcano.sh/v1alpha1")
    tasks = sent["spec"]["tasks"]
    assert [task["minAvailable"] for task in tasks] == [1, 1, 0, 0]
    meet = [container(task)["command"][-1].split("--rdzv_endpoint ")[1].split()[0] for task in tasks]
    assert meet == ["${TORCHX_RANK0_HOST:=localhost}:29500"] + ["${VC_CLI_0_HOSTS:=localhost}:29500"] * 3
    assert tasks[0]["name"] == "cli-0"  # whose address Volcano puts into VC_CLI_0_HOSTS
    assert "svc" in sent["spec"]["plugins"]
    ports = [container(task)["ports"] for task in tasks]
    assert ports == [[{"containerPort": 29500, "name": "c10d"}]] * 4


def test_every_machine_runs_the_command_with_its_environment_and_resources() -> None:
    for task in request(threads=3, stop_s=25)["spec"]["tasks"]:
        of = container(task)
        shell, flag, line = of["command"]
        assert (shell, flag) == ("bash", "-c")
        assert "--nnodes 2:4 --nproc_per_node 8" in line
        assert line.endswith(
            "-m interactrank.cli train /mnt/mine.yaml training.steps=200 --data '/mnt/prepared log' "
            "--output /mnt/runs/a --model interactrank"
        )
        given = {entry["name"]: entry["value"] for entry in of["env"]}
        expected = {
            "OMP_NUM_THREADS": "3",
            "PET_MAX_RESTARTS": "10",
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "25",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        assert expected.items() <= given.items()
        assert of["resources"]["limits"] == {"cpu": "96000m", "memory": "900000M", "nvidia.com/gpu": "8"}


@pytest.mark.parametrize("retries", [0, 3])
def test_all_pods_start_again_only_where_retries_are_asked_for(retries: int) -> None:
    sent = request(max_retries=retries)
    assert sent["spec"]["maxRetry"] == retries
    for task in sent["spec"]["tasks"]:
        policies = {policy["event"]: policy["action"] for policy in task.get("policies", [])}
        assert policies == ({"PodEvicted": "RestartJob", "PodFailed": "RestartJob"} if retries else {})


def test_volumes_are_mounted() -> None:
    for task in request(mounts=MOUNT)["spec"]["tasks"]:
        mounts = {m["mountPath"]: m for m in container(task)["volumeMounts"]}
        volumes = {v["name"]: v for v in task["template"]["spec"]["volumes"]}
        assert set(mounts) == {"/dev/shm", "/mnt", "/tmp/scratch"}
        claim = volumes[mounts["/mnt"]["name"]]["persistentVolumeClaim"]
        assert claim == {"claimName": "claim"}
        assert volumes[mounts["/tmp/scratch"]["name"]]["hostPath"] == {"path": "/scratch"}
        assert mounts["/tmp/scratch"]["readOnly"]
