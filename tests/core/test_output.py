"""Output: a closed pipe, a full disk and an ASCII terminal lose nothing and give no traceback."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from interactrank.core.output import ResultConsole

console = ResultConsole()
for line in range(20_000):
    console.print(f"line {line} \\u00b7 Zo\\u00eb \\u2265 1")
open(sys.argv[1], "w").write("after")
"""


def run(command, tmp_path, **options):
    script, after = tmp_path / "script.py", tmp_path / "after"
    script.write_text(SCRIPT)
    text = command.format(python=sys.executable, script=script, after=after)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=120, **options)
    return done, after


@pytest.mark.slow
def test_closed_pipe__the_program_goes_on_and_ends_well(tmp_path):
    done, after = run("{python} {script} {after} | head -n 1; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("line 0")
    assert after.read_text() == "after"


@pytest.mark.slow
def test_full_disk__one_line_says_so(tmp_path):
    done, after = run("{python} {script} {after} > /dev/full", tmp_path)
    assert done.returncode == 0
    assert done.stderr == "cannot print the results (No space left on device); they are in their files\n"
    assert after.read_text() == "after"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "| Zo? >= 1"), ("utf-8", "\u00b7 Zo\u00eb \u2265 1")]
)
def test_terminal__letters_that_it_lacks_are_plain(tmp_path, encoding, shown):
    done, after = run(f"PYTHONIOENCODING={encoding} {{python}} {{script}} {{after}} | tail -n 1", tmp_path)
    assert done.stderr == ""
    assert done.stdout == f"line 19999 {shown}\n"
    assert after.read_text() == "after"
