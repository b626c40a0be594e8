"""prepare: a raw search log becomes request-grouped, time-ordered Parquet with features as of each request.

Memory is bounded, whatever the length of the log, by the sum of

- ``memory_limit``, to which DuckDB keeps; beyond it, sorts, joins and groups spill to disk;
- for each of ``threads``, and two more, a block of ``block_requests`` requests: their candidates times the
  keys of a query, some 100 bytes each;
- the items file, its features and the index of its text;
- the values of vocabularies while they are counted, some 150 bytes each (``ids: hash`` for unbounded ids);
- 16 bytes for each distinct query and 8 for each user;
- for cross features with a ``resolution``, the tiles of a store while it is written, for each of ``threads``.

Stores of cross features are written as sorted arrays and read back memory-mapped: pages that the system may
drop. Measured on 20 million events: ``benchmarks/results``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.manifest import Manifest
from interactrank.core.parallel import cores
from interactrank.core.stages import stage
from interactrank.cross_features import CrossFeatures, check_feature, features_of
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pa
from interactrank.data.prepare.column_kinds import check_column_kinds
from interactrank.data.prepare.facts import dataset_facts, kinds_of
from interactrank.data.prepare.items import count_in_training, read_items, write_item_fields, write_items
from interactrank.data.prepare.kept_log import keep_log
from interactrank.data.prepare.numbers import Statistics, request_statistics
from interactrank.data.prepare.raw_requests import RequestBlocks
from interactrank.data.prepare.remarks import log_remarks
from interactrank.data.prepare.splits import write_splits
from interactrank.data.prepare.stores import build_stores
from interactrank.data.prepare.user_events import build_user_sequences, write_users
from interactrank.data.prepare.vocabularies import count_vocabularies, held_values
from interactrank.data.prepared.manifest import FORMAT, read_manifest
from interactrank.data.prepared.users import SEQUENCES
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.files import find_files
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import first_line
from interactrank.data.raw.staged_log import StagedLog, stage_log
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema
from interactrank.version import __version__

__all__ = ["Earlier", "Engine", "content_of", "prepare_into", "prepare_log"]


@dataclass(frozen=True)
class Earlier:
    """What a preparation takes over from an earlier one of the same lineage, so that models stay usable.

    Args:
        vocabularies: of each ID table; their values keep their rows.
        numbers: statistics by which models normalise number features.
        forget: whether values that the log no longer has are forgotten; their rows stay, and stand for
            nothing.
    """

    vocabularies: Mapping[str, Vocabulary]
    numbers: Mapping[str, Statistics]
    forget: bool = False


class Engine(Protocol):
    """What reads a log and writes the files of a dataset."""

    def content_of(self, log: str | os.PathLike[str], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return what :func:`content_of` returns."""

    def prepare_into(
        self, staging: Path, log: str | os.PathLike[str], schema: SearchSchema, settings: PrepareSettings
    ) -> dict[str, Any]:
        """Do what :func:`prepare_into` does."""


def prepare_log(
    log: str | os.PathLike[str],
    output: Path,
    schema: SearchSchema,
    settings: PrepareSettings,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Prepare the log in folder ``log`` into the new folder ``output``.

    An ``output`` that was made from files of the same content with the same schema and settings is kept as it
    is, unless a file of it is damaged. What will be missing from a training or an evaluation is logged as
    warnings. Nothing is left behind when it fails.

    Args:
        log: folder or URI of the log.
        output: the dataset's folder.
        schema: what the columns of the log mean.
        settings: how to prepare it.
        engine: what does the work; None for this process. The result is the same.

    Returns:
        The manifest: rows, requests of each split, rows of each table, malformed rows by kind, files.

    Raises:
        DatasetError: the log cannot be prepared; one line that names what and the remedy.
        CrossFeatureError: a cross feature of one's own computes what it must not.
    """
    for feature in features_of(schema):
        if not type(feature).__module__.startswith("interactrank."):
            check_feature(feature, schema)
    output = Path(os.path.abspath(output))
    names = ["events", "items", *(["users"] if schema.users else [])]
    content = content_of(log, names) if engine is None else engine.content_of(log, names)
    fingerprint = _fingerprint(content, schema, settings)
    existing = read_manifest(output)
    if existing is not None:
        _check_not_grown(existing, output)
        earlier = Manifest(files=existing["files"])
        if existing["fingerprint"] == fingerprint and earlier.damage(output, checksums=True) is None:
            log_remarks(existing)
            return existing
    elif output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise DatasetError(f"'{output}' exists and is not a prepared dataset; name a new folder")
    replaces = () if existing is None else earlier.entries()
    with atomic_directory(output, replaces=replaces) as staging:
        facts = {"format": FORMAT, "version": __version__, "fingerprint": fingerprint}
        into = prepare_into if engine is None else engine.prepare_into
        facts |= into(staging, log, schema, settings)
        if settings.keep_log:
            keep_log(log, staging, schema)
            segment = {"events": facts["events"], "content": content}
            facts |= {"lineage": [fingerprint], "segments": [segment]}
        with stage("checksums"):
            manifest = Manifest.of(staging, facts)
        manifest.write(staging)
    log_remarks(manifest.facts)
    return manifest.to_json()


def prepare_into(
    staging: Path,
    log: str | os.PathLike[str],
    schema: SearchSchema,
    settings: PrepareSettings,
    earlier: Earlier | None = None,
) -> dict[str, Any]:
    """Write all files of a dataset but the manifest, and return what that says of them.

    Args:
        staging: an empty folder.
        log: folder of the log.
        schema: what its columns mean.
        settings: how to prepare it.
        earlier: a preparation to go on from.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    check_column_kinds(log, schema)
    work = staging / "work"
    work.mkdir()
    with stage("reading the log"):
        staged = stage_log(log, schema, settings, work)
    try:
        return _write_dataset(staging, work, staged, schema, settings, earlier)
    except duckdb.Error as error:
        raise DatasetError(f"'{log}': {first_line(error)}") from None
    finally:
        staged.db.close()
        shutil.rmtree(work)


def _write_dataset(
    output: Path,
    work: Path,
    log: StagedLog,
    schema: SearchSchema,
    settings: PrepareSettings,
    earlier: Earlier | None,
) -> dict[str, Any]:
    """Write the files of the dataset and return what its manifest says of them."""
    items = read_items(log, schema)
    with stage("vocabularies and items"):
        vocabularies, numbers = _write_values(output, log, schema, items, earlier)
    with stage("user sequences"):
        sequences = build_user_sequences(output / SEQUENCES, log, schema, vocabularies)
        write_users(output, log)
    query_vocabulary = _query_vocabulary(schema, vocabularies)
    fields = write_item_fields(output, items, schema)
    blocks = RequestBlocks(
        log,
        schema,
        settings.block_requests,
        sequences,
        query_vocabulary,
        fields,
        threads=settings.threads or cores(),
    )
    with stage("stores of cross features"):
        build_stores(output, work, blocks, items)
        cross = CrossFeatures.open(output, schema, log.num_items)
    with stage("look-ups and requests"):
        splits = write_splits(output, blocks, settings=settings, vocabularies=vocabularies, cross=cross)
    return dataset_facts(
        schema,
        settings,
        events=log.events,
        capped=log.capped,
        mixed=log.mixed,
        unknown_users=log.unknown_users,
        num_items=log.num_items,
        requests={name: split.requests for name, split in splits.items()},
        positives={name: split.positives for name, split in splits.items()},
        vocabularies=vocabularies,
        numbers=numbers,
    )


def _write_values(
    output: Path, log: StagedLog, schema: SearchSchema, items: pa.Table, earlier: Earlier | None
) -> tuple[dict[str, Vocabulary], dict[str, Statistics]]:
    """Write vocabularies and items; return the vocabularies and the statistics of number features."""
    train_count = count_in_training(log)
    known = None if earlier is None else earlier.vocabularies
    if earlier is not None and earlier.forget:
        held = held_values(log, schema, items)
        known = {name: v.without_others(held[name]) for name, v in earlier.vocabularies.items()}
    vocabularies = count_vocabularies(log, schema, items, train_count, known)
    for name, vocabulary in vocabularies.items():
        vocabulary.save(output / "vocabulary" / f"{name}.parquet")
    numbers = write_items(output, items, schema=schema, train_count=train_count, vocabularies=vocabularies)
    numbers |= {
        f.name: request_statistics(log, schema, f) for f in schema.features.request if f.kind == "number"
    }
    return vocabularies, numbers if earlier is None else dict(earlier.numbers)


def _query_vocabulary(schema: SearchSchema, vocabularies: dict[str, Vocabulary]) -> Vocabulary | None:
    """Return the vocabulary of the queries of user sequences; None without them."""
    s = schema.sequence
    table = None if s is None or s.query is None else schema.feature(s.query).table
    return None if table is None else vocabularies[table]


def content_of(log: str | os.PathLike[str], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return format, lent columns and SHA-256 of the files of a log.

    Names and times of files do not count, but for folders ``column=value``: a log that was copied, renamed or
    touched is still the same.
    """
    place = Place.of(log)
    return {
        name: [[f.format, f.partitions, place.sha256(f.path)] for f in find_files(place, name)]
        for name in names
    }


def _check_not_grown(existing: Mapping[str, Any], output: Path) -> None:
    """Refuse to replace a dataset that has more in it than a log.

    Raises:
        DatasetError: days were appended to it, or users forgotten.
    """
    if len(existing.get("lineage", [])) > 1:
        raise DatasetError(
            f"'{output}' has grown since it was prepared (--append, forget): preparing a log into it would "
            "drop that; name a new folder, or remove this one"
        )


def _fingerprint(content: Mapping[str, Any], schema: SearchSchema, settings: PrepareSettings) -> str:
    """Return what the output depends on: the content of the files, what they mean, how they are prepared."""
    kept = set() if settings.keep_log else {"keep_log"}  # so that other fingerprints stay as they were
    caps = ("max_events_per_user_day", "max_events_per_query_day")
    kept |= {cap for cap in caps if getattr(settings, cap) is None}
    chosen = settings.model_dump(exclude={"memory_limit", "threads", *kept})
    meaning = schema.model_dump(exclude={"history_delay"} if schema.history_delay is None else set())
    how = [FORMAT, __version__, meaning, kinds_of(schema), chosen, content]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()
