"""Errata of seeds 000 and 001: the measurement that decides each."""

from by_hand import line, record

from experiments.grokking import errata
from experiments.grokking.errata import ERRATA


def decides(number):
    """What decides an erratum, by what is tested."""
    (found,) = [each.tests for each in ERRATA if each.number == number]
    return found


def test_errata_are_those_of_both_seeds():
    numbers = [erratum.number for erratum in ERRATA]
    assert numbers == [f"000.{i}" for i in range(1, 7)] + [f"001.{i}" for i in range(1, 6)]


def test_printed_formulas_are_compared_with_the_parameters_that_are_there():
    """By hand, d = 128, L = 2, four heads of 32.

    LSTM, box: 4·128² + 128² + 2·128² + 4·2·128 = 7·16,384 + 1,024 = 115,712, and rightly
    4·128 (128 + 128 + 1 + 257) = 512·514 = 263,168. Attention: 4·16,384 + 512 = 66,048. Decoder
    2 (66,048 + 8·16,384) = 394,240, with layer norms of 4·128·2 = 1,024 it is 395,264.
    """
    of = lambda number: [test([]) for test in decides(number).values()]
    (box,) = of("000.1")
    assert (box.ours, box.verdict) == ("gives 115,712; the model has 263,168", "differs")
    assert of("000.2") == [
        ("gives 1,024; the model has 66,048", "differs"),
        ("gives 66,048; the model has 66,048", "agrees"),
    ]
    multiplier, width, without = of("000.3")
    assert multiplier.ours.startswith("gives 394,240; the model has 395,264; the difference is")
    assert width.ours.startswith("gives 8,520,704;")
    assert without.ours == "gives 65,536; the model has 394,240"


def test_samples_seen_follow_from_batches_and_whole_epochs():
    """32: 15 steps an epoch of 480, 1,334 epochs. 512: one step an epoch, 20,001 epochs."""
    size, seen = (test([]) for test in decides("000.6").values())
    assert size.ours == "the training set holds 480"
    assert "640,320 samples at B = 32 and 9,600,480 at “512”, 15 times" in seen.ours


def long_trial(name, losses, **settings):
    return record([line(step, loss, 1.0) for step, loss in losses.items()], name, **settings)


def test_a_loss_that_is_least_at_the_end_is_still_falling():
    falling = long_trial("a", {0: 3.0, 9_000: 1.0, 10_001: 0.5})
    risen = long_trial("b", {0: 3.0, 9_000: 0.4, 10_001: 0.5})
    found = errata.still_falling([falling, risen])
    assert "a: 10,001 and 10,001 of 10,001; b: 9,000 and 9,000 of 10,001" in found.ours
    assert found.verdict == "undecided"
    assert errata.still_falling([falling]).verdict == "agrees"
    assert errata.still_falling([risen]).verdict == "differs"
    short = long_trial("c", {0: 3.0, 200: 0.5}, steps=200)
    assert errata.still_falling([short]).verdict == "undecided"
    assert errata.still_falling([]).verdict == "not run"
    lost = long_trial("a", {0: None, 10_001: None})
    assert errata.still_falling([lost]).verdict == "undecided"


def test_the_spread_of_best_steps_is_compared_with_the_steps_between_evaluations():
    """t_f of 9,000 and 9,400: 9,200 ± 200, more than the 100 steps between evaluations."""
    trials = [
        long_trial(f"s{seed}", {0: 3.0, at: 0.1, 10_001: 0.5}, seed=seed)
        for seed, at in enumerate((9_000, 9_400))
    ]
    spread = errata.spread_of_steps(trials)
    assert spread.ours == "LSTM t_f(L_val) 9,200 ± 200; LSTM t_f(A_val) 0 ± 0"
    assert spread.verdict == "undecided"
    assert errata.spread_of_steps(trials[:1]).verdict == "not run"
