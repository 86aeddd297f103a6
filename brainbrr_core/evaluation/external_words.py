"""The sentences at the head of a report on a corpus that the run was not trained on."""

from __future__ import annotations

from brainbrr_core.display import counts
from brainbrr_core.display.counts import count
from brainbrr_core.evaluation.facts import ExternalCorpus
from brainbrr_core.evaluation.results import EvaluationResults


def external_sentences(results: EvaluationResults) -> list[str]:
    """Which corpus was scored, what was tuned on it, and which of its patients the run has used."""
    corpus = results.external
    if corpus is None:
        return []
    if corpus.adapted is None:
        head = (
            f"External validation: the run was trained on “{corpus.own_name}” and is scored "
            f"without any change on another corpus, “{corpus.name}”. Nothing was tuned on "
            f"“{corpus.name}”: neither weights nor threshold nor normalization. The threshold is "
            f"the one tuned on dev of “{corpus.own_name}” (“own dev”)."
        )
    else:
        head = (
            f"Adapted: the run was trained on “{corpus.own_name}” and is scored on another corpus, "
            f"“{corpus.name}”, with its {corpus.adapted} tuned on dev of “{corpus.name}”. This is "
            "not an external validation: the figures flatter the detector compared with a corpus "
            "on which nothing was tuned. The weights and everything else are unchanged."
        )
    return [head, _scored(corpus, results.profile), _known(corpus), _scorings(corpus)]


def _scored(corpus: ExternalCorpus, profile: str) -> str:
    if corpus.split != "all":
        what = f"the split “{corpus.split}” of “{corpus.name}”"
    elif corpus.adapted is None:
        what = f"all of “{corpus.name}”, of every split"
    else:
        what = f"all of “{corpus.name}” except its dev"
    selected = ""
    if corpus.selected < corpus.recordings:
        selected = (
            f", of which the profile {profile} selects {corpus.selected:,} of "
            f"{count(corpus.recordings, 'recording')}"
        )
    return f"The scored recordings are {what} (layout {corpus.layout}){selected}."


def _known(corpus: ExternalCorpus) -> str:
    compared = (
        f"Its recordings and patients were compared, by content and by name, with the "
        f"{counts.count(corpus.known_recordings, 'recording')} of "
        f"{counts.count(corpus.known_patients, 'patient')} that the "
        f"run knows from “{corpus.own_name}”"
    )
    count = sum(corpus.left_out.values())
    if count:
        reasons = "; ".join(f"{number:,}: {reason}" for reason, number in corpus.left_out.items())
        sentence = (
            f"{compared}: {counts.count(count, 'recording')} of "
            f"{counts.count(corpus.left_out_patients, 'patient')} are among them and are left out "
            f"({reasons})."
        )
    else:
        sentence = f"{compared}: none is among them."
    if corpus.same_names:
        sentence += (
            f" {corpus.same_names:,} scored patients have the same name as one of these. The user "
            "declared that they are other people, and they have no content in common."
        )
    return sentence


def _scorings(corpus: ExternalCorpus) -> str:
    return (
        f"These recordings have been scored {corpus.scorings:,} "
        f"{'time' if corpus.scorings == 1 else 'times'} from this runs folder, with "
        f"{corpus.scoring_runs:,} {'run' if corpus.scoring_runs == 1 else 'runs'}, including this "
        "evaluation."
    )
