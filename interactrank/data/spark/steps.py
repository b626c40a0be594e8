"""The jobs of a preparation, in their order; what runs in executors lies in the other files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interactrank.core.extras import require
from interactrank.cross_features import EngagementCountStore, EngagementRows, StoreInputs
from interactrank.cross_features.features import STORES
from interactrank.data.extras import duckdb, pa, pq
from interactrank.data.prepare.items import write_item_fields, write_items
from interactrank.data.prepare.numbers import Statistics
from interactrank.data.prepare.stores import REPEATS
from interactrank.data.prepare.vocabularies import vocabularies_of
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.prepared.users import SEQUENCES, Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.events import EventCounts, ParsedCounts, judge_counts
from interactrank.data.raw.files import find_files
from interactrank.data.raw.joins import Unmatched, unmatched
from interactrank.data.raw.place import Place
from interactrank.data.raw.requests import MIXED, judge_mixed, judge_trained
from interactrank.data.raw.splits import WARMUP, split_of
from interactrank.data.raw.staged_columns import item_column, item_columns
from interactrank.data.spark.encode import WRITTEN, encode, write_files
from interactrank.data.spark.histories import (
    ASKS,
    ROWS,
    asked,
    counted,
    counted_of_users,
    counted_stores,
    repeats_number,
)
from interactrank.data.spark.job import ITEMS, USERS, Job
from interactrank.data.spark.requests import COUNTS, group, grouped_schema, parse, parsed_schema
from interactrank.data.spark.sequences import EVENTS, GIVEN, event_blocks, events_of_users, with_sequences
from interactrank.data.spark.statistics import ITEM, NUMBER, STATISTICS, count_training, merge_numbers

REQUESTS, PLACED, SEQUENCED, KNOWN_USERS = "requests", "placed", "sequenced", "known_users"
USER_EVENTS, ROWS_BY_PAIR, ROWS_BY_KEY = "user_events", "rows_by_pair", "rows_by_key"
PART_REQUESTS = 100_000
"""Requests of a query beyond which they go to several parts, each with the histories that they ask for."""


class Written(NamedTuple):
    """What lies in the files: requests of each split, and those with positives, by head."""

    requests: dict[str, int]
    positives: dict[str, dict[str, dict[str, int]]]


def make_requests(spark: Any, job: Job) -> tuple[Any, EventCounts, dict[str, int]]:
    """Read the log; return its requests in order of time, what its rows are, and the mixed requests."""
    files = find_files(Place.of(job.log), "events")
    parsed = spark.range(0, len(files), 1, len(files)).mapInArrow(
        partial(parse, job), _types(parsed_schema(job))
    )
    keys = ["request_id"] if job.schema.events.request else ["user", "query", "time"]
    requests = parsed.repartition(job.parts, *keys).mapInArrow(
        partial(group, job), _types(grouped_schema(job))
    )
    numbered = _numbered(spark, job, requests, ["time", "request_id"], REQUESTS, "request")
    events = _event_counts(job, files[0].name)
    f = _functions()
    sums = [f.sum(f.col(f"mixed_{what}").cast("long")).alias(what) for what in MIXED]
    found = numbered.agg(*sums).first().asDict()
    mixed = {what: int(found[what]) for what in MIXED if found[what]}
    judge_mixed(mixed, job.schema, strict=job.settings.strict)
    return numbered.drop(*(f"mixed_{what}" for what in MIXED)), events, mixed


def place_requests(spark: Any, job: Job, requests: Any, mixed: Mapping[str, int]) -> tuple[Any, int]:
    """Give requests their split, user and part; return them, and the number of users."""
    f, schema = _functions(), job.schema
    total = requests.count()
    split = split_of(schema, job.settings, total).replace("o.rowid", "request")
    requests = requests.withColumn("split", f.expr(split))
    if schema.sequence is not None and schema.sequence.end == "session":
        window = require("pyspark.sql.window", "spark").Window
        session = f.coalesce(f.col("session"), f.concat(f.lit("\x1f"), f.col("request_id")))
        requests = requests.withColumn("history_end", f.min("time").over(window.partitionBy("user", session)))
    users = requests.where("user IS NOT NULL").groupBy("user").agg(f.min("request").alias("first"))
    users = _numbered(spark, job, users, ["first"], KNOWN_USERS, "user_row").drop("first")
    searched = requests.groupBy("query_key").agg(
        f.count("*").alias("searched"),
        f.sum(f.col("split").isin("train", WARMUP).cast("int")).cast("int").alias("train_frequency"),
    )
    salt = f.expr(f"request % CAST(ceil(searched / {PART_REQUESTS}) AS BIGINT)")
    requests = (
        requests.join(users, "user", "left")
        .join(searched, "query_key", "left")
        .withColumn("user_row", f.coalesce("user_row", f.lit(-1).cast("long")))
        .withColumn("part", f.pmod(f.hash("query_key", salt), f.lit(job.parts)))
        .drop("searched")
    )
    requests = _saved(spark, job, requests, PLACED)
    judge_trained(requests.where("split = 'train'").count(), mixed, schema)
    return requests, users.count()


def count(
    spark: Any, job: Job, requests: Any
) -> tuple[pa.Table, dict[str, Vocabulary], dict[str, Statistics]]:
    """Count what is trained on, write vocabularies and items, and return the columns of the items, too."""
    f, schema, output = _functions(), job.schema, Path(job.output)
    trained = requests.where("split = 'train'")
    found = trained.mapInArrow(partial(count_training, job), _types(STATISTICS))
    plain = found.where(f"table <> '{NUMBER}'").groupBy("table", "value").agg(f.sum("n").alias("n"))
    counts: dict[str, Counter[str]] = {name: Counter() for name in [*schema.tables, ITEM]}
    for row in plain.toLocalIterator():
        counts[row["table"]][row["value"]] = int(row["n"])
    parts = [row.asDict() for row in found.where(f"table = '{NUMBER}'").collect()]
    train_count = np.zeros(job.num_items, np.int64)
    for item, n in counts.pop(ITEM).items():
        train_count[int(item)] = n
    staged = pq.read_table(job.work / ITEMS)
    items = pa.table({c: staged[item_column(schema, c)] for c in item_columns(schema)})
    vocabularies = vocabularies_of(schema, items, train_count, counts)
    for name, vocabulary in vocabularies.items():
        vocabulary.save(output / "vocabulary" / f"{name}.parquet")
    numbers = write_items(output, items, schema=schema, train_count=train_count, vocabularies=vocabularies)
    for feature in schema.features.request:
        if feature.kind == "number":
            numbers[feature.name] = merge_numbers([p for p in parts if p["value"] == feature.name])
    return items, vocabularies, numbers


def save_users(spark: Any, job: Job, *, has_users: bool) -> Unmatched | None:
    """Write who the users are; return those that the users file lacks."""
    pieces = _pieces(job, KNOWN_USERS)
    known = (user for path in pieces for b in _batches(path, ["user"]) for user in b["user"].to_pylist())
    Users.write(Path(job.output), known, pq.read_table(job.work / USERS) if has_users else None)
    if not has_users or not pieces:
        return None
    with duckdb.connect() as db:
        for name, paths in (("user_rows", pieces), ("users", [job.work / USERS])):
            db.execute(f'CREATE VIEW {name} AS SELECT "user" FROM read_parquet({[str(p) for p in paths]})')
        missing = 'SELECT "user" AS id FROM user_rows ANTI JOIN users USING ("user")'
        n = db.execute('SELECT count(*) FROM user_rows SEMI JOIN users USING ("user")').fetchone()[0]
        return unmatched(db, missing, int(n), "users", '"user"')


def save_item_stores(job: Job, items: pa.Table) -> None:
    """Write item fields, and the stores that are made of the items alone."""
    output = Path(job.output)
    write_item_fields(output, items, job.schema)
    (output / STORES).mkdir()
    for name, feature in job.stores.items():
        if name not in counted_stores(job):
            columns = {c: items[c].to_pylist() for c in feature.settings.item_columns}
            nothing = StoreInputs(lambda: iter(()), lambda: iter(()), columns, job.num_items)
            feature.build(output / STORES / name, nothing)


def add_sequences(spark: Any, job: Job, requests: Any, num_users: int) -> Any:
    """Write the engagements of all users; return the requests with their user sequences."""
    f = _functions()
    events = requests.mapInArrow(partial(events_of_users, job), _types(EVENTS))
    order = ["user_row", "time", "request", "item"]
    by_user = events.repartitionByRange(job.parts, "user_row").sortWithinPartitions(*order)
    events = _saved(spark, job, by_user, USER_EVENTS)
    blocks = (b for path in _pieces(job, USER_EVENTS) for b in event_blocks(_batches(path)))
    UserSequences.build(Path(job.output) / SEQUENCES, blocks, num_users)
    part = f.pmod(f.hash("user_row"), f.lit(job.parts))
    # Requests without a user have no sequence, and go anywhere.
    anywhere = f.pmod(f.hash("request"), f.lit(job.parts))
    requests = requests.withColumn("of_user", f.when(f.col("user_row") >= 0, part).otherwise(anywhere))
    both = requests.groupBy("of_user").cogroup(events.withColumn("of_user", part).groupBy("of_user"))
    fields = pa.schema([*_fields(requests), *GIVEN])
    return _saved(spark, job, both.applyInArrow(partial(with_sequences, job), _types(fields)), SEQUENCED)


def count_histories(spark: Any, job: Job, requests: Any) -> Any:
    """Write what is counted, sorted in both orders that stores are built from; return the rows."""
    rows = requests.mapInArrow(partial(counted, job), _types(ROWS))
    if job.schema.sequence is not None:
        pieces = len(_pieces(job, USER_EVENTS))
        of_users = spark.range(0, pieces, 1, max(pieces, 1))
        rows = rows.union(of_users.mapInArrow(partial(_of_pieces, job), _types(ROWS)))
    pair, key = ["store", "key", "item", "time"], ["store", "key", "time"]
    rows = _saved(
        spark, job, rows.repartitionByRange(job.parts, *pair).sortWithinPartitions(*pair), ROWS_BY_PAIR
    )
    times = rows.select(*key).repartitionByRange(job.parts, *key).sortWithinPartitions(*key)
    _saved(spark, job, times, ROWS_BY_KEY)
    return rows


def save_stores(job: Job) -> None:
    """Write the stores of the dataset: the sorted rows pass through here, a block of them at a time."""
    output = Path(job.output)
    for number, (name, feature) in enumerate(job.stores.items()):
        if name in counted_stores(job):
            pairs, keys = partial(_by_pair, job, number), partial(_by_key, job, number)
            feature.build(output / STORES / name, StoreInputs(pairs, keys, {}, job.num_items))
    if job.schema.exclude_repeats:
        number = repeats_number(job)
        EngagementCountStore.build(output / REPEATS, _by_pair(job, number), _by_key(job, number))


def save_requests(spark: Any, job: Job, requests: Any, rows: Any) -> Written:
    """Look the cross features up, and write the files of all splits."""
    f, output = _functions(), Path(job.output)
    wanted = requests.where(f"split <> '{WARMUP}'")
    asks = wanted.mapInArrow(partial(asked, job), _types(ASKS)).distinct()
    sent = asks.join(rows, ["store", "key"]).select("part", *ROWS.names)
    one = encode(job, _first(job, SEQUENCED if job.schema.sequence else PLACED), ROWS.empty_table())
    columns = pa.schema(list(one.schema)[2:])
    kind = one.rename_columns(_plain(one.schema.names)).schema
    encoded = (
        wanted.groupBy("part")
        .cogroup(sent.groupBy("part"))
        .applyInArrow(partial(_encode_part, job), _types(kind))
    )
    block = f.expr(f"r_request DIV {job.settings.block_requests}")
    files = spark.createDataFrame(_file_of_each_block(job, wanted), "r_split string, block long, r_file int")
    placed = encoded.withColumn("block", block).join(f.broadcast(files), ["r_split", "block"])
    order = ["r_split", "r_file", "r_request"]
    number = files.select("r_split", "r_file").distinct().count()
    for split in SPLITS:
        (output / split).mkdir()
    written = (
        placed.drop("block")
        .repartition(number, "r_split", "r_file")
        .sortWithinPartitions(*order)
        .mapInArrow(partial(write_files, job, columns), _types(WRITTEN))
        .collect()
    )
    return _added_up(job, [row.asDict() for row in written])


def _encode_part(job: Job, requests: pa.Table, rows: pa.Table) -> pa.Table:
    found = encode(job, requests, rows)
    return found.rename_columns(_plain(found.column_names))


def _plain(names: list[str]) -> list[str]:
    """Return names without the dots of a dataset's columns, which Spark takes for fields of structures."""
    return [*names[:2], *(f"x{n}" for n in range(len(names) - 2))]


def _file_of_each_block(job: Job, wanted: Any) -> list[tuple[str, int, int]]:
    """Return which file the requests of each split and block go to: those that one machine would write."""
    f = _functions()
    block = f.expr(f"request DIV {job.settings.block_requests}").alias("block")
    found = wanted.groupBy("split", block).count().collect()
    files, sizes, result = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0), []
    for row in sorted(found, key=lambda r: r["block"]):
        split = row["split"]
        result.append((split, int(row["block"]), files[split]))
        sizes[split] += int(row["count"])
        if sizes[split] >= job.settings.file_requests:
            files[split], sizes[split] = files[split] + 1, 0
    return result


def _added_up(job: Job, written: list[dict[str, Any]]) -> Written:
    heads = job.schema.head_names
    names = ("with_positive", "with_both")
    positives = {s: {h: dict.fromkeys(names, 0) for h in heads} for s in SPLITS}
    requests = dict.fromkeys(SPLITS, 0)
    for row in written:
        for name in names:
            positives[row["split"]][row["head"]][name] += int(row[name])
        if row["head"] == heads[0]:
            requests[row["split"]] += int(row["requests"])
    return Written(requests, positives)


def _of_pieces(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what the users of the pieces of the numbers in a column ``id`` add to stores."""
    for batch in batches:
        for number in batch["id"].to_pylist():
            yield from counted_of_users(job, _batches(_pieces(job, USER_EVENTS)[number]))


def _event_counts(job: Job, first: str) -> EventCounts:
    """Add up what the tasks of the files counted.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    folder = job.work / COUNTS
    each = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    kinds: Counter[str] = Counter()
    for counts in each:
        kinds.update(counts["kinds"])
    sums = [sum(counts[name] for counts in each) for name in ("engaged", "timed", "early")]
    events = judge_counts(ParsedCounts(dict(kinds), *sums), first, job.schema, strict=job.settings.strict)
    with duckdb.connect() as db:
        db.execute(f"CREATE VIEW items AS SELECT id FROM read_parquet({[str(job.work / ITEMS)]})")
        ids = {
            n: f"SELECT DISTINCT id FROM read_parquet('{folder}/{n}-*.parquet')" for n in ("unknown", "known")
        }
        known = db.execute(f"SELECT count(*) FROM ({ids['known']})").fetchone()[0]
        return events._replace(unknown_items=unmatched(db, ids["unknown"], int(known), "items", "id"))


def _numbered(spark: Any, job: Job, rows: Any, order: list[str], name: str, number: str) -> Any:
    """Save rows in an order, and return them with their place in it, from 0."""
    f = _functions()
    _saved(spark, job, rows.repartitionByRange(job.parts, *order).sortWithinPartitions(*order), name)
    first, total = [], 0
    for path in _pieces(job, name):
        first += [f.lit(path.name), f.lit(total)]
        total += pq.read_metadata(path).num_rows
    read = spark.read.parquet(str(job.work / name))
    if not first:
        return read.withColumn(number, f.lit(0).cast("long"))
    start = f.create_map(*first)[f.col("_metadata.file_name")]
    return read.withColumn(number, (start + f.col("_metadata.row_index")).cast("long"))


def _saved(spark: Any, job: Job, rows: Any, name: str) -> Any:
    """Write rows into the work's folder of that name, and return them read from there."""
    rows.write.parquet(str(job.work / name))
    return spark.read.parquet(str(job.work / name))


def _pieces(job: Job, name: str) -> list[Path]:
    """Return the files of saved rows, in the order of their partitions."""
    return sorted((job.work / name).glob("part-*.parquet"))


def _batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(columns=columns)


def _first(job: Job, name: str) -> pa.Table:
    """Return one of the requests."""
    path = next(p for p in _pieces(job, name) if pq.read_metadata(p).num_rows)
    return pa.Table.from_batches([next(pq.ParquetFile(path).iter_batches(1))])


def _by_pair(job: Job, number: int) -> Iterator[EngagementRows]:
    for batch in _of_store(job, ROWS_BY_PAIR, number, ["key", "item", "time"]):
        yield EngagementRows(*(batch[n].to_numpy() for n in ("key", "item", "time")))


def _by_key(job: Job, number: int) -> Iterator[Any]:
    for batch in _of_store(job, ROWS_BY_KEY, number, ["time"]):
        yield batch["time"].to_numpy()


def _of_store(job: Job, name: str, number: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the sorted rows of one store."""
    for path in _pieces(job, name):
        file = pq.ParquetFile(path)
        for group_number in range(file.num_row_groups):
            place = file.schema_arrow.get_field_index("store")
            known = file.metadata.row_group(group_number).column(place).statistics
            if known is not None and known.has_min_max and not known.min <= number <= known.max:
                continue
            for batch in file.iter_batches(row_groups=[group_number], columns=["store", *columns]):
                of_store = batch["store"].to_numpy() == number
                if of_store.any():
                    yield batch.filter(pa.array(of_store)).select(columns)


def _fields(rows: Any) -> pa.Schema:
    return require("pyspark.sql.pandas.types", "spark").to_arrow_schema(rows.schema)


def _types(fields: pa.Schema) -> Any:
    """Return the types of Spark for those of Arrow."""
    return require("pyspark.sql.pandas.types", "spark").from_arrow_schema(fields)


def _functions() -> Any:
    return require("pyspark.sql.functions", "spark")
