"""The winner leaves the lab: a finished run is used without its training data, here or on another machine."""
