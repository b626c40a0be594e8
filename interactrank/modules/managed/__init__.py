"""ID tables whose rows belong to the frequent or recent values of an unbounded stream of ids."""

from interactrank.modules.managed.collections import manage
from interactrank.modules.managed.eviction import Eviction
from interactrank.modules.managed.managed_ids import STATE_BYTES, ManagedIds

__all__ = ["STATE_BYTES", "Eviction", "ManagedIds", "manage"]
