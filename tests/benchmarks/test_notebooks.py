"""The benchmark of live notebooks says what it lacks, and reads what a browser showed."""

from __future__ import annotations

import dataclasses

import pytest

from tests.benchmarks import browser, notebooks


def test_without_a_browser_it_is_left_out_by_name(monkeypatch, capsys):
    monkeypatch.setattr(browser, "missing", lambda: ["chromium", "jupyterlab"])
    assert notebooks.rows(repeats=1) == []
    said = "notebooks: left out, as there is no chromium, no jupyterlab\n"
    assert capsys.readouterr().out == said


def test_what_is_missing_is_found(monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: None)
    assert browser.missing() == ["chromium", "jupyterlab", "ipywidgets", "websocket"]
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: object())
    assert browser.missing() == []


SEEN = notebooks.Seen([0.04, 0.06, 0.3], 60, 9, 0.05, slider=180.0, picture=800.0, cut=0.0)


def test_a_row_is_the_median_beside_what_was_promised(monkeypatch):
    monkeypatch.setattr(browser, "missing", lambda: [])
    monkeypatch.setattr(notebooks, "look", lambda *given, moves: SEEN)
    first, second = notebooks.rows(repeats=1)
    assert first.name == "2_geometry_of_imbalance, a slider's move"
    assert second.name == "3_mixup_channels, a slider's move"
    assert (first.ours.wall, first.rival.wall, first.required) == (0.06, 0.1, 1.0)
    assert first.notes["its pictures"] == 9
    assert first.met


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slider": 30.0}, "the slider is squeezed to 30 px"),
        ({"cut": 0.2}, "20% of the picture is cut off"),
    ],
)
def test_what_is_not_seen_whole_is_an_error(monkeypatch, change, message):
    seen = dataclasses.replace(SEEN, **change)
    monkeypatch.setattr(browser, "missing", lambda: [])
    monkeypatch.setattr(notebooks, "look", lambda *given, moves: seen)
    with pytest.raises(AssertionError, match=message):
        notebooks.rows(repeats=1)


def test_the_sliders_are_those_of_the_notebooks():
    for name, label in notebooks.SLIDERS.items():
        text = (browser.ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        assert f'description=\\"{label}\\"' in text


def test_processes_end_with_their_block():
    with browser.ended(["sleep", "60"]) as process:
        assert process.poll() is None
    assert process.poll() is not None
