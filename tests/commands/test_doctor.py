"""What doctor reports; the runs under a mismatch are in test_compatibility.py."""

from argparse import Namespace

import pytest

from interactrank.commands import doctor
from interactrank.commands.doctor import check_machine, check_requirements, check_trio
from interactrank.core.installed import version_of
from interactrank.core.versions import Trio

MATCHING = Trio(torch="2.13.0", torchrec="1.8.0", fbgemm={"fbgemm-gpu-cpu": "1.8.0"})


def test_matching_trio():
    findings = {finding.name: finding for finding in check_trio(MATCHING)}
    assert findings["torch"].text == "2.13.0"
    assert findings["fbgemm"].text == "1.8.0 (CPU build, fbgemm-gpu-cpu)"
    assert {finding.state for finding in findings.values()} == {"ok"}


def test_both_builds_are_wrong():
    trio = Trio(torch="2.13.0", torchrec="1.8.0", fbgemm={"fbgemm-gpu": "1.9.0", "fbgemm-gpu-cpu": "1.8.0"})
    (wrong,) = [finding for finding in check_trio(trio) if finding.state == "error"]
    assert "both installed" in wrong.text
    assert wrong.remedy.startswith("pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu && ")


@pytest.mark.parametrize(
    ("requirements", "name", "state", "remedy"),
    [
        (["numpy", "torch==2.13.*"], "requirements", "ok", None),
        (["numpy", "no-such-thing>=1"], "requirements", "error", "pip install 'no-such-thing>=1'"),
        (['numpy; extra == "data"'], "extra data", "ok", None),
        (['no-such-thing; extra == "data"'], "extra data", "warning", "pip install 'interactrank[data]'"),
    ],
)
def test_requirements(requirements, name, state, remedy):
    (finding,) = check_requirements(requirements)
    assert (finding.name, finding.state, finding.remedy) == (name, state, remedy)


def test_check_requirements__an_installed_version_that_is_too_old():
    found = version_of("numpy")
    (finding,) = check_requirements(["numpy>=99", "numpy; python_version < '3'"])  # the second is of others
    assert (finding.state, finding.remedy) == ("error", "pip install 'numpy>=99'")
    assert finding.text == f"numpy {found} (needs >=99)"


def test_extras_of_developers_are_left_out():
    assert not list(
        check_requirements(['no-such-thing; extra == "dev"', 'interactrank[data]; extra == "all"'])
    )


def test_gpu_that_a_cpu_build_cannot_use(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(doctor, "_gpus", lambda: ["GPU 0: made up"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    (finding,) = check_machine()
    assert finding.state == "warning"
    assert finding.text == "1 GPU found, which this torch cannot use: a CPU build"
    assert finding.remedy == "make -B install BUILD=cuda"


def test_healthy_installation_exits_zero(capsys):
    assert doctor.run(Namespace()) == 0
    assert capsys.readouterr().out.endswith("everything matches\n")


def test_library_that_does_not_load_is_wrong(monkeypatch, capsys):
    def broken(module):
        if module == "fbgemm_gpu":
            raise OSError("libfbgemm.so: undefined symbol: _ZN3c10")
        return __import__(module)

    monkeypatch.setattr(doctor, "import_module", broken)
    assert doctor.run(Namespace()) == 1
    out = capsys.readouterr().out
    assert "fbgemm_gpu does not load: libfbgemm.so: undefined symbol" in out
    pins = Trio.installed().pins
    both = f"torch=={pins['torch']} torchrec=={pins['torchrec']}"
    assert f"run: pip install --force-reinstall --no-deps {both} fbgemm-gpu" in out
