"""Resources: the configuration of a run, and the device a training is bound to."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError


class Workspace(dg.ConfigurableResource[Configuration]):
    """Where the configuration comes from; empty, the variables of the environment say."""

    config: str = ""

    def load(self) -> Configuration:
        """The configuration, as the ``brainbrr`` command would load it."""
        return load(Overrides(config=self.config or None))


class GpuResource(dg.ConfigurableResource[str]):
    """The hardware profile a training is bound to: ``rtx4090``, ``a100`` or ``cpu``.

    The training process checks that the card it got is the card it is bound to.
    """

    profile: str = "cpu"


@contextmanager
def users_mistakes_as_failures() -> Iterator[None]:
    """A mistake a user can mend fails the step with its one line, without a traceback."""
    try:
        yield
    except BrainbrrError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
