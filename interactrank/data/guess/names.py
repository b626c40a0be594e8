"""Names that columns of search logs have; a name is a hint, what a column holds decides."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "CATEGORY",
    "ENGAGEMENT",
    "ITEM",
    "LABEL",
    "LATER",
    "POSITION",
    "QUERY",
    "REQUEST",
    "ROW_KIND",
    "SESSION",
    "TIME",
    "TIME_OF_EVENT",
    "TITLE",
    "USER",
    "YAML_WORDS",
    "best",
    "plain",
]

REQUEST = r"(request|search|serp|list|impression|page_?view)_?(id|uuid|key)"
USER = r"(user|visitor|customer|client|member|account|cookie|person|profile)(_?(id|uuid|key|hash))?|uid"
SESSION = r"(session|visit)(_?(id|uuid|key))?"
QUERY = r"query|search_?(query|term|text|phrase|string)|keywords?|phrase|q|term|query_?text|search"
ITEM = (
    r"(item|product|article|doc|document|sku|asin|listing|hotel|movie|film|song|artist|video|page)"
    r"(_?(id|key|nr))?|id"
)
TIME = (
    r"timestamp|time|ts|datetime|date|(request|search|impression|query|server|log)_?(time|timestamp|ts|at|date)|"
    r"(created|searched|requested|shown)_?(at|on)?"
)
TIME_OF_EVENT = (
    r"(event|click|engagement|action|purchase|order|conversion)_?(time|timestamp|ts|at|date)|"
    r"(clicked|purchased|bought|converted)_?at"
)
POSITION = r"((list|display|result|item)_?)?(position|pos|rank|slot)"
ENGAGEMENT = (
    r"click|clk|clicked|tap|view|save|like|purchase|buy|bought|cart|convert|conversion|book|booking|download|"
    r"watch|play|listen|share|favou?rite|engag|interact|label|target|relevan|order|search|chosen|select|pick"
)
LABEL = r"label|target|y|relevance|engaged|positive"
LATER = (
    r"snapshot|popular|rating|vote|review|sales|sold|count$|cnt$|clicks?(_|$)|views?(_|$)|ctr|first_|last_|related|"
    r"similar|also_|^train_|score"
)
"""What is often taken after a log ended, and then knows the future."""
ROW_KIND = r"((event|action|row|interaction)_?)?(kind|type|name)|action|event"
TITLE = r"(product_?|item_?|artist_?)?(title|name|headline|label)"
CATEGORY = (
    r"categor|genre|brand|tag|manufacturer|type|format|city|country|colou?r|department|class|topic|maker"
)

YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
"""What YAML reads as something else than text."""


def best(names: Iterable[str], pattern: str, first: str = "") -> str | None:
    """Return the name that a pattern fits as a whole; ``first`` wins over others, then the shortest.

    Example::

        >>> best(["query_raw", "Query", "session_id"], QUERY)
        'Query'
    """
    found = [n for n in names if re.fullmatch(pattern, n.lower())]
    return min(found, key=lambda n: (n.lower() != first, len(n)), default=None)


def plain(name: str) -> str:
    """Return a name that a feature can have.

    Example::

        >>> plain("Shown Price (EUR)"), plain("2nd")
        ('shown_price_eur', 'c_2nd')
    """
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "column"
    return f"c_{text}" if text[0].isdigit() or text in YAML_WORDS else text
