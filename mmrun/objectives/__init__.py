"""How a batch becomes a loss: a module each."""
