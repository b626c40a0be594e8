"""A raw log: its files, staged in DuckDB as the tables ``items``, ``users``, ``requests`` and ``candidates``.

DuckDB streams, and spills to disk beyond its memory limit. Each staged table has a file that shows its
columns.
"""
