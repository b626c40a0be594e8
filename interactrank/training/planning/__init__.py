"""Which rank holds what of each ID table: sizes, machines, constraints, the planner, and plans as files."""
