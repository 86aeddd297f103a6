"""Simulated scalp EEG that is varied enough to train a detector on.

Patients, states, sources in a head model, seizures, what is mistaken for them, artifacts and
recorders belong here, all drawn from the ranges of a YAML file. Writing a corpus with resumption
and processes belongs to ``synthesis``, whose smaller generator serves demos and tests.
"""

from brainbrr_core.simulation.corpus import write_simulated_corpus
from brainbrr_core.simulation.ranges import load_ranges

__all__ = ["load_ranges", "write_simulated_corpus"]
