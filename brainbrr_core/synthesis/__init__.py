"""Synthetic corpora in the layout of TUSZ with known seizures, for demos, tests and benchmarks.

Planning the patients and recordings of such a corpus, generating the EEG of one recording, and
writing the corpus reproducibly belong here. Reading a corpus belongs to ``corpus``. The signals
exercise a detector and do not model a brain: no result on them says anything about real recordings.
"""

from brainbrr_core.synthesis.plan import CorpusSummary
from brainbrr_core.synthesis.writing import write_corpus, write_corpus_like

__all__ = ["CorpusSummary", "write_corpus", "write_corpus_like"]
