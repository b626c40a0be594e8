"""Workarounds of TorchRec, FBGEMM and torch's process groups: one file each, see README.md.

Each is bound to the modules that :func:`~interactrank.sharding.shard.shard_model` returns, or to the process
group that it ran in. None replaces a function or class of TorchRec for the whole process.
"""
