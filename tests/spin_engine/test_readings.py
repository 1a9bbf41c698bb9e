"""A step's numbers, exactly."""

import math

import pytest
import torch

from spin_engine.readings import readings

NONE = math.nan


def test_self_play_by_quarter_of_the_timesteps() -> None:
    noted = torch.tensor(
        [[9, 0, 0.5, 1.0, 1.0, 1.0], [9, 249, 1.0, 1.0, 1.0, 1.0], [9, 999, 0.5, 1.0, 0.25, 1.0]]
    )
    assert readings(noted, 1000) == {
        "margin": pytest.approx(0.25 / 3),
        "accuracy": 0.5,
        "winner_drift": pytest.approx(-0.25 / 3),
        "rival_drift": 0.0,
        "winner_error": pytest.approx(2 / 3),
        "margin_t0": 0.25,
        "winner_drift_t0": -0.25,
        "margin_t3": -0.25,
        "winner_drift_t3": 0.25,
    }


def test_without_a_reference_the_margin_is_between_winner_and_loser() -> None:
    noted = torch.tensor([[9, 1000.0, 0.5, 1.0, NONE, NONE], [9, 600.5, 0.5, 0.25, NONE, NONE]])
    assert readings(noted, 1000) == {
        "margin": 0.125,
        "accuracy": 0.5,
        "winner_error": 0.5,
        "margin_t2": -0.25,
        "margin_t3": 0.5,
    }


def test_supervision_has_the_winners_error() -> None:
    noted = torch.tensor([[9, 0, 4.0, NONE, NONE, NONE], [9, 500, 2.0, NONE, NONE, NONE]])
    found = {"winner_error": 3.0, "winner_error_t0": 4.0, "winner_error_t2": 2.0}
    assert readings(noted, 1000) == found
