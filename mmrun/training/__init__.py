"""Training: stages say what learns, a budget says how long, the engine is the one loop."""
