# python examples/09_behind_postgresql.py
"""PostgreSQL in front, the pre-ranker behind it: full text finds up to 1,000 items, ten are kept.

The server of Debian's package (``apt-get install postgresql``) is started on a cluster of its own in a
temporary folder, which is removed in the end; it listens on a socket in that folder alone. A GIN index has
the words of the titles. ``ts_rank`` knows nothing of users and histories, which the pre-ranker adds.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from interactrank.runs.config import load_config
from interactrank.runs.export import export_trained
from interactrank.runs.workflow import run_models
from interactrank.serving import PreRanker

DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
SMALL = [
    *("simulate.requests=1500", "simulate.users=150", "simulate.items=600"),
    *("training.epochs=1", "training.validate_every=null", "training.tensorboard=false"),
    *("models=[interactrank]", "ranks=1", "evaluation.resamples=100"),
]
ANY_WORD = "replace(plainto_tsquery('simple', :'text')::text, '&', '|')::tsquery"
RETRIEVE = f"""SELECT id FROM items, (SELECT {ANY_WORD} AS wanted) q
WHERE title @@ wanted ORDER BY ts_rank(title, wanted) DESC, id LIMIT 1000"""


def programs() -> Path | None:
    """Return the folder of the newest server's programs; None if there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@contextmanager
def server(bin_folder: Path) -> Iterator[Path]:
    """Start a server for the block; yield the folder of its socket."""
    # PostgreSQL refuses to run as root: Debian's package has a user for it.
    who = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), f"{name}/data"
        if who:
            shutil.chown(folder, **who)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **who}
        initdb = [bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "demo", "-E", "UTF8"]
        subprocess.run(initdb, **quiet)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        start = [bin_folder / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"]
        subprocess.run(start, **quiet)
        try:
            yield folder
        finally:
            subprocess.run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **quiet)


def ask(socket: Path, sql: str, **variables: str) -> list[str]:
    """Return the lines of an answer; psql quotes the variables."""
    given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
    place = ["-h", str(socket), "-U", "demo", "-d", "postgres"]
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *place, *given]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def index_items(socket: Path, items: list[dict]) -> None:
    """Make the table of the items, with the words of their titles indexed."""
    rows = "\n".join(json.dumps([str(i["item_id"]), i["title"] or ""]).replace("\\", "\\\\") for i in items)
    ask(
        socket,
        f"""CREATE TEMP TABLE given (line jsonb);
COPY given FROM stdin;
{rows}
\\.
CREATE TABLE items AS SELECT line ->> 0 AS id, to_tsvector('simple', line ->> 1) AS title FROM given;
CREATE INDEX ON items USING gin (title);
ANALYZE items;""",
    )


def main() -> None:
    bin_folder = programs()
    if bin_folder is None or shutil.which("psql") is None:
        sys.exit(print("skipped: PostgreSQL is not installed (Debian: apt-get install postgresql)"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_models(load_config(DEMO, SMALL), None, folder / "run")
        export_trained(folder / "run" / "interactrank", folder / "export", verify_requests=20)
        ranker = PreRanker.open(folder / "export")
        items = pq.read_table(folder / "run" / "log" / "items.parquet").to_pylist()
        events = pq.read_table(folder / "run" / "log" / "events.parquet").to_pylist()
    last = events[-1]
    request = {"query": last["query"], "user_id": last["user_id"], "timestamp": last["timestamp"]}
    with server(bin_folder) as socket:
        index_items(socket, items)
        found = ask(socket, RETRIEVE, text=request["query"])
    best = ranker.rank(request, found, k=10)
    titles = {str(i["item_id"]): i["title"] for i in items}
    print(f"\n{request['query']!r} for {request['user_id']}: {len(found)} items retrieved, 10 kept")
    for place, (item, score) in enumerate(zip(best.ids, best.scores, strict=True), 1):
        print(f"{place:2}. (PostgreSQL: {found.index(item) + 1:3}) {titles[item]:24} {score:7.2f}")


if __name__ == "__main__":
    main()
