"""CrossFeature: one number of a (request, item) pair, from its settings to its tensor column.

The life of a feature, and what its class says in each step:

1. *Settings.* ``Settings`` is what an entry of ``cross_features`` in YAML may hold.
2. *Prepare.* ``request_keys`` gives the keys of each request, which are stored with it. ``rows`` says what
   is counted of a block of logged requests; ``build`` writes that, sorted, into the folder of the ``store``.
3. *Look-up.* ``look_up`` gives the number of any candidates as of their requests: logged ones while
   preparing, drawn negatives while training, the whole catalogue in evaluation.
4. *Tensor.* ``column`` says how the number enters the score.

*Serving form.* The folder of a store and the keys of a request are all that a look-up needs, and
``request_keys`` reads nothing but :class:`RequestFacts`. A server that has copied the folder computes the
number of a live request with the same two methods, so training and serving cannot differ.

Shapes: R requests, C candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from numpy.typing import NDArray

from interactrank.core.errors import UserError
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import (
    EngagementRows,
    LoggedRequests,
    RequestFacts,
    RequestKeys,
    StoreInputs,
    UserSequences,
)
from interactrank.schema import CrossFeatureSettings

__all__ = [
    "Category",
    "Column",
    "CrossFeature",
    "CrossFeatureError",
    "Found",
    "Number",
    "Rate",
    "Ratio",
    "Term",
]


class CrossFeatureError(UserError, ValueError):
    """A cross feature cannot be registered, or computes what it must not; the message names it."""


@dataclass(frozen=True)
class Rate:
    """A column of numbers in 0..1, each a share of a count, which the model smooths by that count.

    The look-up gives the count [R] as its support; a request without any (0) gets a learned number instead.

    Args:
        prior: the rate to expect without support, in 0..1; None for 1 / items of the catalogue.
            ``model.cross_features.priors`` replaces it.
    """

    prior: float | None = None


@dataclass(frozen=True)
class Number:
    """A column of any other numbers: a price ratio, hours since a touch, a match.

    The score is affine in them, so give them a scale of about -5 to 5, such as a logarithm.

    Args:
        log_offset: the score reads log(number + log_offset); None for the number itself.
        may_be_unknown: the number may be NaN, for which the model learns another one.
    """

    log_offset: float | None = None
    may_be_unknown: bool = False


@dataclass(frozen=True)
class Ratio:
    """A column of two counts of each candidate: E engagements of I impressions.

    The model smooths E / I towards the ratio of a wider feature (:meth:`CrossFeature.back_off`), and reads
    its logarithm. ``Found.values`` are E and ``Found.support`` are I, both [C].

    Args:
        base: the ratio to expect where there is nothing wider, in 0..1; the model learns it from there.
            ``model.cross_features.priors`` replaces it.
    """

    base: float = 0.1


@dataclass(frozen=True)
class Category:
    """A column of whole numbers 0..size - 1; the model learns what each of them adds to a score.

    Args:
        size: numbers in all; 0 stands for unknown.
    """

    size: int


Column = Rate | Number | Ratio | Category


class Found(NamedTuple):
    """The result of a look-up: ``values`` [C], with [R] ``support`` for a :class:`Rate`, [C] for a ratio."""

    values: NDArray[Any]
    support: NDArray[Any] | None = None


@dataclass(frozen=True)
class Term:
    """What a look-up computes, for the compiled form that serves single requests.

    Args:
        kind: of the engagements of the pairs that a candidate has under the request's keys: their share of
            the key's (``geometric``: over all keys), their count, their count next to that of impressions
            (``rate``, of the second store), minus the log of minutes since the last one, its order, the
            cosine over users, the sum of scores.
        keys: name of the keys.
        own: whether the end of the user sequence ends what counts, not the request.
        window_ms: of what counts; None for all of the past.
        field: column whose values stand for the items.
        everywhere: whether every item is looked up under one and the same key.
    """

    kind: Literal["share", "geometric", "count", "rate", "recency", "order", "cosine", "match"]
    keys: str
    own: bool = False
    window_ms: int | None = None
    field: str | None = None
    everywhere: bool = False


SettingsT = TypeVar("SettingsT", bound=CrossFeatureSettings)


class CrossFeature(ABC, Generic[SettingsT]):
    """A cross feature; :func:`~interactrank.cross_features.register` makes its class a kind of the schema.

    Args:
        settings: an entry of the schema.

    Attributes:
        Settings: the class of the settings.
        column: how the number enters the score.
        reads_sequence: whether :meth:`request_keys` reads the items of user sequences, which may be empty
            where no feature of a schema does.
        format: raise it when what :meth:`build` writes changes; older datasets are then refused.
    """

    Settings: ClassVar[type[CrossFeatureSettings]]
    column: Column = Number()
    format: ClassVar[int] = 1
    reads_sequence: ClassVar[bool] = True

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        """The name of the feature and of its column."""
        return self.settings.name

    @property
    def store(self) -> str | None:
        """The folder of what is stored; features of one kind may share it. None: nothing is stored."""
        return None

    @property
    def stores(self) -> tuple[str, ...]:
        """The folders of a feature that needs several; it then says in :meth:`rows_of` what each counts."""
        return () if self.store is None else (self.store,)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the keys that a look-up needs; features of one kind may share them."""
        return ()

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return the int64 keys of each request, one of :attr:`key_names`; a request may have none.

        Text becomes a key by :func:`~interactrank.cross_features.text.hash63`.
        """
        raise NotImplementedError(f"{type(self).__name__} names the keys '{name}' and does not make them")

    def keys_once(self, name: str, requests: RequestFacts) -> Jagged:
        """Return :meth:`request_keys`, made once for all that ask the same facts."""
        return requests.once(("keys", name), lambda: self.request_keys(name, requests))

    def rows(self, requests: LoggedRequests) -> EngagementRows | None:
        """Return what a block of logged requests adds to the store; None for nothing."""
        return None

    def rows_of(self, store: str, requests: LoggedRequests) -> EngagementRows | None:
        """Return what a block of logged requests adds to one of :attr:`stores`."""
        return self.rows(requests)

    def sequence_rows(self, sequences: UserSequences) -> Iterable[EngagementRows]:
        """Return blocks of what the users' sequences add to the store."""
        return ()

    def build(self, folder: Path, inputs: StoreInputs) -> None:
        """Write the store into ``folder``; by default the engagement rows, sorted."""
        EngagementCountStore.build(folder, inputs.by_pair(), inputs.by_key())

    def open(self, folder: Path) -> Any:
        """Return the store that :meth:`build` wrote, best memory-mapped."""
        return EngagementCountStore.open(folder)

    def back_off(self, others: Sequence[CrossFeature[Any]]) -> CrossFeature[Any] | None:
        """Return whose ratio to expect where this :class:`Ratio` has seen little; None for the base.

        Args:
            others: the ratios that the model reads, this one among them. Following the answers must end.
        """
        return None

    def known_items(self, requests: RequestKeys, store: Any) -> Int64s | None:
        """Return the items that a request knows something about; all others have the same number.

        Serving looks up these alone, and one of the others for all of them. It must hold as of any moment.

        Args:
            requests: keys of one request.
            store: what :meth:`look_up` gets.

        Returns:
            Rows of the catalogue in any order, repetitions allowed; None if any item may have a number of its
            own.
        """
        return None

    def term(self) -> Term | None:
        """Return what :meth:`look_up` computes, in the words of :class:`Term`; None if they do not say it.

        A model whose features all have one is served and evaluated by compiled code.
        """
        return None

    @abstractmethod
    def look_up(self, lookup: Lookup, store: Any) -> Found:
        """Return the number of each candidate as of its request.

        It must not depend on what happened at or after ``lookup.until(...)``, nor on which other candidates
        the request has.

        Args:
            lookup: R requests with their keys and times, and C candidates.
            store: what :meth:`open` returned; None without a :attr:`store`; with several :attr:`stores` a
                mapping from their names.
        """
