from __future__ import annotations

from benchmarks.faults import Outcome

# One kill at 2.5 s, after step 6 with a checkpoint at step 4; the other rank still logs step 7. The second,
# at 12.5 s, strikes before anything is saved anew; the last one comes after all steps were done.
LINES = [
    (0.0, "   Sharding plan"),
    (1.0, "step 5/9 loss 1"),
    (2.0, "step 6/9 loss 1"),
    (3.0, "step 7/9 loss 1"),
    (8.0, "   Sharding plan"),
    (9.0, "resuming from job/step_4: step 4"),
    (10.0, "step 5/9 loss 1"),
    (11.0, "step 7/9 loss 1"),
    (12.0, "step 8/9 loss 1"),
    (18.0, "   Sharding plan"),
    (19.0, "resuming from job/step_8: step 8"),
    (20.0, "step 9/9 loss 1"),
    (24.0, "   Sharding plan"),
    (25.0, "resuming from job/step_9: step 9"),
]


def test_steps_done_twice_and_the_time_to_be_back() -> None:
    outcome = Outcome(lines=LINES)
    assert outcome.done_at(2.5) == 7  # the line of the rank that lived on came after the kill
    assert outcome.resumed_after(2.5) == 4
    assert outcome.lost_at(2.5) == 7 - 4
    assert outcome.back_s(2.5) == 12.0 - 2.5  # step 8 is the first new one


def test_nothing_is_lost_right_after_a_checkpoint() -> None:
    outcome = Outcome(lines=LINES)
    assert (outcome.resumed_after(12.5), outcome.lost_at(12.5)) == (8, 0)
    assert outcome.back_s(12.5) == 20.0 - 12.5


def test_a_kill_after_the_last_step_has_nothing_to_come_back_to() -> None:
    outcome = Outcome(lines=LINES)
    assert (outcome.resumed_after(21.0), outcome.lost_at(21.0), outcome.back_s(21.0)) == (9, 0, None)


def test_without_a_checkpoint_all_is_done_again() -> None:
    lines = [
        (0.0, "Sharding plan"),
        (1.0, "step 1/9"),
        (5.0, "Sharding plan"),
        (6.0, "step 1/9"),
        (7.0, "step 2/9"),
    ]
    outcome = Outcome(lines=lines)
    assert (outcome.resumed_after(1.5), outcome.lost_at(1.5), outcome.back_s(1.5)) == (0, 1, 5.5)


def test_a_run_that_did_not_start_again() -> None:
    outcome = Outcome(lines=LINES[:3])
    assert (outcome.resumed_after(1.5), outcome.lost_at(1.5), outcome.back_s(1.5)) == (0, 5, None)
    assert outcome.back_s(None) is None
