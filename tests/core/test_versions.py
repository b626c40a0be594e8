"""The rule torchrec/FBGEMM 1.X <-> torch 2.(X+5), and how a mismatch shows."""

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from interactrank.core import installed as installed_module
from interactrank.core import versions as compatibility
from interactrank.core.versions import NEWEST, PINNED, IncompatibleVersionsError, Trio, check

ROOT = Path(__file__).parents[2]
CPU = {"fbgemm-gpu-cpu": "1.8.0"}
CUDA = {"fbgemm-gpu": "1.8.0"}
TORCHREC = Trio.installed().torchrec
BOTH = "pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu"


def test_this_environment_matches():
    check()


@pytest.mark.parametrize(
    ("torch", "torchrec", "fbgemm"),
    [
        ("2.13.0+cpu", "1.8.0", CPU),
        ("2.13.1", "1.8.2", CUDA),  # patch releases go together
        ("2.14.1", "1.9.2", {"fbgemm-gpu": "1.9.0"}),  # 9 + 5 = 14
        ("2.14.0.dev20260101", "1.8.0", CPU),  # a nightly is not judged
        ("2.13.0", "of an unknown version", CPU),  # nor is a build from source
    ],
)
def test_matching_trio(torch, torchrec, fbgemm):
    assert Trio(torch=torch, torchrec=torchrec, fbgemm=fbgemm).problem() is None


@pytest.mark.parametrize(
    ("trio", "problem", "remedy"),
    [
        (
            Trio(torch="2.14.1", torchrec="1.8.0", fbgemm=CUDA),
            "torch 2.14.1, torchrec 1.8.0 and fbgemm-gpu 1.8.0 do not go together",
            "pip install --no-deps torchrec==1.9.2 fbgemm-gpu==1.9.0",  # torch decides
        ),
        (
            Trio(torch="2.13.0", torchrec="1.9.2", fbgemm={"fbgemm-gpu-cpu": "1.9.0"}),
            "torch 2.13.0, torchrec 1.9.2 and fbgemm-gpu-cpu 1.9.0 do not go together",
            "pip install --no-deps torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0",
        ),
        (
            Trio(torch="2.14.0", torchrec="1.8.0", fbgemm={"fbgemm-gpu": "1.9.0"}),
            "torch 2.14.0, torchrec 1.8.0 and fbgemm-gpu 1.9.0 do not go together",
            "pip install --no-deps torchrec==1.9.2",
        ),
        (
            Trio(torch="2.12.0", torchrec="1.8.0", fbgemm={"fbgemm-gpu": "1.9.0"}),
            "torch 2.12.0, torchrec 1.8.0 and fbgemm-gpu 1.9.0 do not go together",
            "pip install torch==2.13.0 && pip install --no-deps fbgemm-gpu==1.8.0",  # the default
        ),
        (
            # Before 1.0 the major numbers differed as well: 0.8 went with 1.13.
            Trio(torch="2.13.0", torchrec="0.8.0", fbgemm=CPU),
            "torch 2.13.0, torchrec 0.8.0 and fbgemm-gpu-cpu 1.8.0 do not go together",
            "pip install --no-deps torchrec==1.8.0",
        ),
        (
            Trio(torch="2.13.0+cpu", torchrec="1.8.0", fbgemm={"fbgemm-gpu": "1.9.0", **CPU}),
            "fbgemm-gpu 1.9.0 and fbgemm-gpu-cpu 1.8.0 are both installed and overwrite each other's files",
            f"{BOTH} && pip install --no-deps fbgemm-gpu-cpu==1.8.0",
        ),
        (
            Trio(torch="2.13.0+cpu", torchrec="1.8.0", fbgemm=CUDA),
            "fbgemm-gpu 1.8.0 is a CUDA build and torch 2.13.0+cpu is not",
            f"{BOTH} && pip install --no-deps fbgemm-gpu-cpu==1.8.0",
        ),
        (
            Trio(torch="2.13.0+cpu", torchrec="1.8.0"),
            "FBGEMM is not installed",
            "pip install --no-deps fbgemm-gpu-cpu==1.8.0",
        ),
        (
            Trio(torch="2.13.0+cpu"),
            "torchrec and FBGEMM are not installed",
            "pip install --no-deps torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0",
        ),
    ],
)
def test_mismatch_and_its_remedy(trio, problem, remedy):
    assert trio.problem() == problem
    assert trio.remedy() == remedy


@pytest.mark.parametrize(("driver", "build"), [(None, "fbgemm-gpu-cpu"), ("/bin/nvidia-smi", "fbgemm-gpu")])
def test_without_any_build_the_driver_decides(monkeypatch, driver, build):
    monkeypatch.setattr(compatibility.shutil, "which", lambda name: driver)
    assert Trio(torch="2.13.0", torchrec="1.8.0").remedy() == f"pip install --no-deps {build}==1.8.0"


class FakeMetadata:
    """importlib.metadata of an environment given as distribution -> (version, files)."""

    PackageNotFoundError = compatibility.metadata.PackageNotFoundError

    def __init__(self, installed):
        self.installed = installed

    def distribution(self, name):
        if name not in self.installed:
            raise self.PackageNotFoundError(name)
        version, files = self.installed[name]
        return type("Distribution", (), {"version": version, "files": [Path(file) for file in files]})

    def version(self, name):
        return self.distribution(name).version


CODE = ["fbgemm_gpu/__init__.py", "fbgemm_gpu-1.dist-info/METADATA"]
NO_CODE = ["fbgemm_gpu-1.8.0+cpu.dist-info/METADATA"]


@pytest.mark.parametrize(
    ("installed", "builds"),
    [
        ({"fbgemm-gpu": ("1.8.0+cpu", NO_CODE), "fbgemm-gpu-cpu": ("1.8.0", CODE)}, CPU),  # the stand-in
        ({"fbgemm-gpu": ("1.8.0", CODE)}, CUDA),
        ({"fbgemm-gpu": ("1.8.0+cpu", CODE)}, {"fbgemm-gpu-cpu": "1.8.0+cpu"}),
        ({"fbgemm-gpu": ("1.9.0", CODE), "fbgemm-gpu-cpu": ("1.8.0", CODE)}, {"fbgemm-gpu": "1.9.0", **CPU}),
        ({}, {"fbgemm-gpu": "of an unknown version"}),  # importable, but unknown to pip
    ],
)
def test_installed_builds(monkeypatch, installed, builds):
    monkeypatch.setattr(compatibility, "metadata", FakeMetadata(installed))
    assert Trio.installed().fbgemm == builds


def test_check_is_one_sentence(monkeypatch):
    environment = {"torch": ("2.14.1", []), "torchrec": ("1.8.0", []), "fbgemm-gpu-cpu": ("1.8.0", CODE)}
    for module in (compatibility, installed_module):
        monkeypatch.setattr(module, "metadata", FakeMetadata(environment))
    with pytest.raises(IncompatibleVersionsError) as caught:
        check()
    assert str(caught.value) == (
        "torch 2.14.1, torchrec 1.8.0 and fbgemm-gpu-cpu 1.8.0 do not go together: "
        "torchrec 1.X and FBGEMM 1.X go with torch 2.(X+5); "
        "run: pip install --no-deps torchrec==1.9.2 fbgemm-gpu-cpu==1.9.0"
    )


@pytest.fixture
def mismatched(tmp_path):
    """The environment of a process that finds torch 2.12.0 in its metadata, which goes with no trio here."""
    info = tmp_path / "torch-2.12.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.0\n")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def run_python(*arguments, env):
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)


def test_import_of_the_package_fails_with_the_sentence(mismatched):
    done = run_python("-c", "import interactrank", env=mismatched)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"interactrank.core.versions.IncompatibleVersionsError: torch 2.12.0, torchrec {TORCHREC} and "
    )
    assert "undefined symbol" not in done.stderr


@pytest.mark.slow
def test_commands_say_it_in_one_line(mismatched):
    done = run_python("-m", "interactrank.cli", "run", "none.yaml", env=mismatched)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"interactrank run: torch 2.12.0, torchrec {TORCHREC} and ")


@pytest.mark.slow
def test_doctor_runs_all_the_same(mismatched):
    done = run_python("-m", "interactrank.cli", "doctor", env=mismatched)
    assert done.returncode == 1
    assert re.search(r"error +match +torch 2.12.0, .* do not go together", done.stdout)
    assert "run: pip install torch==2.13.0" in done.stdout


def test_import_of_the_package_is_light():
    done = run_python(
        "-c",
        "import interactrank, sys; print('torch' in sys.modules)",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("pins", "files"), [(PINNED, "constraints"), (NEWEST, "constraints-newest")])
def test_pins_agree_with_the_packaging(pins, files):
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"]
    cpu, cuda = ((ROOT / "packaging" / f"{files}-{build}.txt").read_text() for build in ("cpu", "cuda"))
    for name, distribution in (("torch", "torch"), ("torchrec", "torchrec"), ("fbgemm", "fbgemm-gpu")):
        (line,) = re.findall(rf"^{distribution} >= (\S+), < (\S+)$", required, re.MULTILINE)
        lowest, above = (tuple(map(int, version.split("."))) for version in line)
        assert lowest <= tuple(map(int, pins[name].split(".")))[:2] < above
    for pin in ("torch==", "torchrec==", "fbgemm-gpu-cpu=="):
        name = "fbgemm" if "fbgemm" in pin else pin[:-2]
        assert f"{pin}{pins[name]}\n" in cpu
    assert f"fbgemm-gpu=={pins['fbgemm']}\n" in cuda
    stand_in = ROOT / "packaging" / ("fbgemm-gpu-cpu" if pins is PINNED else "fbgemm-gpu-cpu-1.9")
    assert f'version = "{pins["fbgemm"]}+cpu"\n' in (stand_in / "pyproject.toml").read_text()
    assert (
        Trio(torch=pins["torch"], torchrec=pins["torchrec"], fbgemm={"fbgemm-gpu": pins["fbgemm"]}).pins
        == pins
    )
