"""Corpora in TUSZ's layout with known seizures, for demonstrations, tests and benchmarks.

Here belongs everything that makes such a corpus: which patients and recordings it has, the
synthetic EEG of one recording, and writing it whole and reproducibly. Reading a corpus, its
index and its signal chain do not belong here (``corpus``, ``signal``); nor does anything that
a result on real recordings could rest on: the signals are made to exercise a detector, not to
model a brain.
"""

from brainbrr_core.synthesis.plan import CorpusSummary
from brainbrr_core.synthesis.writing import write_corpus, write_corpus_like

__all__ = ["CorpusSummary", "write_corpus", "write_corpus_like"]
