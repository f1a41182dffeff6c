"""One run: `flow` reads it top to bottom; `build` makes objects of config; `stage` trains, `figures` evaluates."""
