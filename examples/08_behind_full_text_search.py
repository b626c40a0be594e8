# python examples/08_behind_full_text_search.py
"""Full-text search in front, the pre-ranker behind it: retrieve hundreds, score them all, keep ten.

A small simulated log is prepared and trained on, then exported. Tantivy, a search engine that runs within
this process, indexes the items' titles (``pip install interactrank[retrieval]``). Each request is retrieved
by its text alone; the pre-ranker then ranks what was found by text, ids, taste and the history of the query.
"""

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import tantivy

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


def index_titles(items: list[dict]) -> tantivy.Index:
    """Index the title of every item."""
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("id", stored=True, tokenizer_name="raw")
    schema.add_text_field("title")
    index = tantivy.Index(schema.build())
    writer = index.writer(num_threads=1)
    for item in items:
        writer.add_document(tantivy.Document(id=str(item["item_id"]), title=item["title"] or ""))
    writer.commit()
    index.reload()
    return index


def retrieve(index: tantivy.Index, text: str, limit: int) -> list[str]:
    """Return the ids of items whose title has any word of the text, the best match first."""
    query, _ = index.parse_query_lenient(text, ["title"])
    searcher = index.searcher()
    return [searcher.doc(address)["id"][0] for _, address in searcher.search(query, limit).hits]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_models(load_config(DEMO, SMALL), None, folder / "run")
        export_trained(folder / "run" / "interactrank", folder / "export", verify_requests=20)
        ranker = PreRanker.open(folder / "export")
        items = pq.read_table(folder / "run" / "log" / "items.parquet").to_pylist()
        events = pq.read_table(folder / "run" / "log" / "events.parquet").to_pylist()
    index, titles = index_titles(items), {str(i["item_id"]): i["title"] for i in items}
    last = events[-1]
    request = {"query": last["query"], "user_id": last["user_id"], "timestamp": last["timestamp"]}
    found = retrieve(index, request["query"], limit=500)
    best = ranker.rank(request, found, k=10, explain=True)
    assert best.explanations is not None
    print(f"\n{request['query']!r} for {request['user_id']}: {len(found)} items retrieved, 10 kept")
    for place, (item, score, why) in enumerate(zip(best.ids, best.scores, best.explanations, strict=True), 1):
        strongest = max(why.features, key=lambda feature: abs(why.features[feature]))
        was = found.index(item) + 1
        print(
            f"{place:2}. (text search: {was:3}) {titles[item]:24} {score:7.2f}   "
            f"dot {why.dot:+.2f}, {strongest} {why.features[strongest]:+.2f}"
        )


if __name__ == "__main__":
    main()
