"""Where seed 003 is wrong or says too little, each with the measurement that decides it."""

from __future__ import annotations

from fractions import Fraction

from experiments.report.report import Erratum
from experiments.results.claims import Finding, Test, by_share, fact
from experiments.results.trials import Trials
from experiments.speeches.attention import SENTENCE, attention_of
from experiments.speeches.measures import classifiers
from experiments.speeches.seed import BEST_REGULARIZED, TABLE_1
from experiments.speeches.task import SHORT
from models import SpeechConfig, count

TESTED = 750  # sentences of the test set
ACCURACIES = (*(test for _, _, test in TABLE_1), BEST_REGULARIZED)  # in percent


def counted(printed: int, right: int) -> Test:
    """A count of parameters that the seed prints, beside that of `models.count`."""
    return fact(f"{right:,}", printed == right)


def classifier(batch_norm: bool) -> int:
    config = SpeechConfig(batch_norm=batch_norm)
    return count.speech_trunk(config) + count.speech_head(config)


def language_model(hidden: int) -> int:
    config = SpeechConfig(hidden=hidden)
    return count.speech_trunk(config) + count.classifier(config.d, config.vocabulary_size)


def is_share(percent: float, of: int) -> bool:
    """Whether a percentage is that of a whole number of `of` sentences.

    To the decimals that the seed prints, but at least two, rounded or cut off.
    """
    text = f"{percent:.4f}".rstrip("0")
    unit = Fraction(1, 10 ** max(2, len(text.partition(".")[2])))
    exact = Fraction(text) * of / 100
    nearest = [Fraction(n * 100, of) for n in (int(exact), int(exact) + 1)]
    return any(-unit / 2 <= value - Fraction(text) < unit for value in nearest)


def shares_of_the_test_set(trials: Trials) -> Finding:
    wrong = sorted({value for value in ACCURACIES if not is_share(value, TESTED)})
    halves = all(is_share(value, 2 * TESTED) for value in ACCURACIES)
    listed = ", ".join(f"{value:g} % is {value * TESTED / 100:.1f} sentences" for value in wrong)
    note = f"; all are whole numbers of {2 * TESTED:,}" if halves else ""
    return Finding(f"{listed}{note}", "differs" if wrong else "agrees")


def one_class_at_first(trials: Trials) -> Finding:
    """Whether a classifier gives one answer to all sentences after the first epoch."""
    constant = []
    for trial in classifiers(trials):
        record = trial.records[1]
        said = [sum(record[f"{who}_as_{other}"] for who in SHORT) for other in SHORT]
        constant.append(max(said) == sum(said))
    first = [100 * trial.records[1]["test_accuracy"] for trial in classifiers(trials)]
    if not first:
        return Finding()
    ours = (
        f"{min(first):.1f} to {max(first):.1f} % in {len(first)} models, of which "
        f"{sum(constant)} give one answer to all"
    )
    return Finding(ours, by_share(constant))


def of_the_training_set(trials: Trials) -> Finding:
    """Whether the sentence of the maps is one that the models learn from."""
    read = [attention_of(trial)["maps"][0] for trial in trials]
    if not read:
        return Finding()
    text = " ".join(read[0]["tokens"])
    ours = f"“{text}” is line {SENTENCE + 1} of the file that is learnt from"
    return Finding(ours, "differs" if all(m["set"] == "training" for m in read) else "agrees")


ERRATA = (
    Erratum("003.1", "Part 1: the classifier has 576,539 parameters",
            "That is its count with the batch norm of part 3.2, whose scale and shift of 100 "
            "features are 200",
            {"The model of part 1": counted(576_539, classifier(batch_norm=False)),
             "The model with batch norm": counted(576_539, classifier(batch_norm=True))}),
    Erratum("003.2", "Table 1 and section 3.2: test accuracies of 87.1333, 87.8 and 89.67 %",
            "The test set has 750 sentences, and these are no shares of it",
            {"All test accuracies are shares of 750": shares_of_the_test_set}),
    Erratum("003.3", "Part 2: two feed-forward parts are tried, 256 and 100 wide",
            "In the assignment 100 is the width of the head of the classifier, and its language "
            "model is 4 d = 256 wide, as the count of the text says",
            {"943,611 parameters are those of 256": counted(943_611, language_model(256)),
             "They are those of 100": counted(943_611, language_model(100))}),
    Erratum("003.4", "Table 1: 33.33 % of the test set are right after the first epoch",
            "That is a constant answer, for each speaker has 250 sentences",
            {"Ours give one answer to all after the first epoch": one_class_at_first},
            "classifier"),
    Erratum("003.5", "Section 3.2: the accuracy on test_CLS.txt",
            "There is no such file",
            {"The sentences are in a .txt file": fact("they are in test_CLS.tsv, with labels")}),
    Erratum("003.6", "Parts 1 and 2: maps of attention to “These virtues give me an unshakable "
            "faith in America”",
            "The sentence is learnt from, so the maps show no new text; ours are beside those of a "
            "test sentence",
            {"The sentence is new to the models": of_the_training_set}, "attention_maps"),
)  # fmt: skip
