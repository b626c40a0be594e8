"""The closed loop: simulated users search day by day, and every night the models learn from what they did."""
