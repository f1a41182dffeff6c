"""Callbacks that note what a run reports, and interrupt it."""

from mmrun.training.callback import Callback


class Messages(Callback):
    def __init__(self):
        self.texts = []

    def on_message(self, text):
        self.texts.append(text)


class Interrupt(Callback):
    """Stops the run, or all runs that train together, as Ctrl-C does."""

    def on_step_end(self, state, losses):
        if state.step == 3:
            raise KeyboardInterrupt
