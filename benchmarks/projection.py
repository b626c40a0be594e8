"""From one machine to 8, 64 and 1,024 GPUs: what was measured, and what follows from it.

    python -m benchmarks.projection --threads 1

Measured here, on one rank: training steps of the demo's model with towers of the reference's sizes, the share
of them that the ID tables take, and how near the rest comes to the rate of matrix products. On CPU the same
arithmetic is then checked on two ranks of this machine.

Projected: a rank's dense work, at the same share of the GPU's rate; the tables and their exchange by the
planner's model (that of ``interactrank plan``), with the speeds given; the all-reduce of dense gradients as a
ring. Small tables that all look up are on every GPU, as the planner chooses; a second table has them
sharded, too. At the fast end of a range the tables are as the planner has them, and all exchange hides behind
the dense work; at the slow end tables are slower by as much as they are here, and nothing overlaps. What
messages cost whatever their size counts as exchange.

Shapes: B requests of a batch on a rank, N ranks.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, report, tables
from benchmarks.step_model import (
    SMALL,
    Measured,
    Step,
    config,
    gflop_of,
    memory_rate,
    on_ranks,
    one_rank,
    planned,
    step_of,
)
from benchmarks.workers import Workers
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data import prepare_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.distributed.world import process_group
from interactrank.runs.plan_inputs import ModelProfile, profile_model
from interactrank.sharding.byte_sizes import parse_bytes, show_bytes
from interactrank.sharding.planner.cluster import Cluster, Speeds

QUESTION = "What would this model train at on 8, 64 and 1,024 GPUs?"
GPUS = (8, 64, 1024)
GPUS_A_MACHINE = 8
ROWS = {"item": 1_000_000_000, "query": 100_000_000, "word": 200_000}  # of the projected tables
CANDIDATES = 25  # of a request, each an item of its own
BATCHES = (16, 64, 256)  # B of the measured steps


def sized(
    log: PreparedDataset,
    requests: int,
    smoke: bool,
    rows: dict[str, int] | None = None,
    candidates: float | None = None,
) -> ModelProfile:
    """The model without weights, and what a step of B requests asks of its tables."""
    of = config(smoke, requests)
    return profile_model(
        of.search, of.model, batch_requests=requests, log=log, rows=rows, candidates=candidates
    )


def measured_table(found: list[Measured], rate: float) -> report.Table:
    """What was measured on one rank."""
    return report.Table(
        title="Measured: steps of one rank of this machine",
        columns=[
            "B",
            "distinct items",
            "ms",
            "requests/s",
            "of it tables, ms",
            "GFLOP",
            "dense part, share of the matmul rate",
        ],
        rows=[
            [m.requests, m.items, m.ms, 1e3 * m.requests / m.ms, m.tables_ms, m.gflop, m.dense_share(rate)]
            for m in found
        ],
        note=f"Matrix products of 1024 x 1024 run at {rate:,.0f} GFLOP/s here. The tables' part is that of "
        "their kernels in the profile; all else counts as dense.",
    )


def check(
    log: PreparedDataset, found: list[Measured], memory: float, slower: float, smoke: bool
) -> tuple[list[list[Any]], float]:
    """Two ranks of this machine: projected from one rank, and measured; and the speed of their all-reduce."""
    rows: list[list[Any]] = []
    speed = 0.0
    with Workers(2) as workers:
        for m in found:
            ranks = workers.call(on_ranks, str(log.folder), m.requests, smoke)
            ms, speed = max(ms for ms, _ in ranks), min(speed for _, speed in ranks)
            cluster = _here(2, memory, speed)
            of = config(smoke, m.requests)
            step = step_of(planned(sized(log, m.requests, smoke), of, cluster), m.dense_ms)
            expected = step.slowest(slower)
            rows.append([m.requests, m.ms, expected, ms, expected / ms])
    return rows, speed


def projections(
    log: PreparedDataset, share: float, gflop: float, options: argparse.Namespace, *, replicated: bool
) -> list[tuple[int, Step]]:
    """N GPUs -> the step of each, with B = ``--batch``."""
    batch = 8 if options.smoke else options.batch
    of = config(options.smoke, batch, replicated=replicated)
    dense = gflop / (options.tflops * share)
    speeds = Speeds(hbm=options.hbm, within=options.within, between=options.between)
    rows = None if options.smoke else ROWS
    model = sized(log, batch, options.smoke, rows, CANDIDATES)
    found = []
    for gpus in GPUS:
        cluster = Cluster(
            nodes=-(-gpus // GPUS_A_MACHINE),
            ranks_per_node=min(gpus, GPUS_A_MACHINE),
            hbm=parse_bytes("80GiB"),
            ddr=parse_bytes("200GiB"),
            speeds=speeds,
        )
        found.append((gpus, step_of(planned(model, of, cluster), dense)))
    return found


def projected_table(title: str, found: list[tuple[int, Step]], slower: float, batch: int) -> report.Table:
    """What N GPUs would do."""
    first = found[0][1].slowest(slower)
    rows: list[list[Any]] = []
    for gpus, step in found:
        slow, fast = step.slowest(slower), step.fastest
        rows.append([gpus, step.dense, step.tables, step.exchange, step.all_reduce, fast, slow])
        rows[-1] += [1e3 * gpus * batch / slow, 1e3 * gpus * batch / fast, first / slow]
    columns = ["GPUs", "dense ms", "tables ms", "their exchange ms", "all-reduce ms", "step ms, fast end"]
    columns += ["slow end", "requests/s, slow end", "fast end", "efficiency against 8, slow end"]
    return report.Table(title=f"{title}, {batch} requests a GPU", columns=columns, rows=rows, note="")


def plot(path: Path, found: list[tuple[int, Step]], slower: float, batch: int, title: str) -> None:
    """Requests a second against GPUs, between the two ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    gpus = [n for n, _ in found]
    slow = [1e3 * n * batch / step.slowest(slower) for n, step in found]
    fast = [1e3 * n * batch / step.fastest for n, step in found]
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    axes.fill_between(gpus, slow, fast, alpha=0.3, label="projected: nothing to all exchange overlapped")
    axes.plot(
        gpus, [slow[0] * n / gpus[0] for n in gpus], "--", color="#999", label="slow end of 8, proportional"
    )
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="requests a second", title=title)
    axes.set_xticks(gpus, [f"{n:,}" for n in gpus])
    axes.minorticks_off()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _here(ranks: int, memory: float, within: float = 1e9) -> Cluster:
    """Ranks of this machine without GPUs, to the planner."""
    ddr = parse_bytes("8GiB")
    return Cluster(
        nodes=1, ranks_per_node=ranks, device="cpu", ddr=ddr, speeds=Speeds(ddr=memory, within=within)
    )


def main() -> None:
    """Measure, project, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it works")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=2048, help="B, requests of a projected batch on a GPU")
    parser.add_argument("--tflops", type=float, default=989, help="of a GPU's matrix products")
    parser.add_argument("--hbm", type=parse_bytes, default="3.35TB", help="a second, of a GPU's memory")
    parser.add_argument("--within", type=parse_bytes, default="450GB", help="a second, within a machine")
    parser.add_argument(
        "--between", type=parse_bytes, default="50GB", help="a second and GPU, between machines"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    silence_known_warnings()
    load, device = machine.load(), torch.device(options.device)
    torch.set_num_threads(options.threads)
    batches = (4, 8) if options.smoke else BATCHES
    size = 64 if options.smoke else 1024
    dtype = torch.float32
    with tempfile.TemporaryDirectory() as name:
        of = config(options.smoke, 1)
        assert of.simulate is not None
        simulate(of.simulate, Path(name) / "log")
        prepare_log(Path(name) / "log", Path(name) / "prepared", of.search, of.prepare)
        log = PreparedDataset(Path(name) / "prepared")
        rate, memory = machine.matmul_rates([(size,) * 3], dtype, device), memory_rate(device, options.smoke)
        with process_group(options.device):
            found = [one_rank(log, b, device, smoke=options.smoke) for b in batches]
        largest = found[-1]
        here = step_of(
            planned(sized(log, largest.requests, options.smoke), of, _here(1, memory)), largest.dense_ms
        )
        slower = largest.tables_ms / here.tables
        pages = [measured_table(found, rate)]
        if device.type == "cpu":
            rows, speed = check(log, found, memory, slower, options.smoke)
            pages.append(check_table(rows, memory, speed))
        share = largest.dense_share(rate)
        batch = 8 if options.smoke else options.batch
        gflop = gflop_of(found, batch, CANDIDATES * batch)
        steps = projections(log, share, gflop, options, replicated=True)
        sharded = projections(log, share, gflop, options, replicated=False)
    small = ", ".join(SMALL)
    page = projected_table("Projected", steps, slower, batch)
    page["note"] = assumptions(options, share, slower, gflop, device)
    other = projected_table("Projected with the small tables sharded, too", sharded, slower, batch)
    other["note"] = f"Where {small} are on one rank or one machine, that one serves all others."
    pages += [page, other]
    path = tables.write(
        "projection",
        QUESTION,
        pages,
        smoke=options.smoke,
        load_before=load,
        folder=options.output,
        device=device,
    )
    plot(path.with_suffix(".png"), steps, slower, batch, f"Projected from {machine.short_name(device)}")


def check_table(rows: list[list[Any]], memory: float, speed: float) -> report.Table:
    """How far the arithmetic is off where it can be checked."""
    return report.Table(
        title="Check: two ranks of this machine",
        columns=["B", "one rank ms, measured", "two ranks ms, projected", "measured", "projected / measured"],
        rows=rows,
        note=f"By the slow end's rule. Speeds measured here: memory {show_bytes(memory)}/s, all-reduce "
        f"between the ranks {show_bytes(speed)}/s.",
    )


def assumptions(
    options: argparse.Namespace, share: float, slower: float, gflop: float, device: torch.device
) -> str:
    """What the projection rests on, most doubtful first."""
    rows = ", ".join(f"{name} {n:,}" for name, n in ROWS.items())
    lines = [
        f"That a GPU's dense part reaches {share:.0%} of its matmul rate, as B = {BATCHES[-1]} does here on "
        f"{machine.short_name(device)}",
        f"{options.tflops:g} TFLOP/s, memory {show_bytes(options.hbm)}/s, {show_bytes(options.within)}/s "
        f"within and {show_bytes(options.between)}/s a GPU between machines (by default an H100's)",
        f"the planner's model of tables and exchange; here tables took {slower:.2f} times what it expects",
        f"{gflop:,.0f} GFLOP a step, with {CANDIDATES} items of each request its own, by the counts above",
        "loading keeps up, ranks wait for nobody beyond the planner's busiest rank",
    ]
    of = "the sizes of the smoke run" if options.smoke else f"tables of {rows} rows"
    small = ", ".join(SMALL)
    return (
        "Nothing in this table was measured. It assumes: "
        + "; ".join(lines)
        + f". For {of}; {small} are on every GPU, as the planner chooses."
    )


if __name__ == "__main__":
    main()
