"""Names of functions in modules and files; what is not there is said in words."""

import sys

import pytest

from tiltz.errors import InputError
from tiltz.rewards import evaluate, load

SOURCE = """
from dataclasses import dataclass
from {sibling} import WORTH

three = 3

@dataclass
class Score:
    value: "float"

    def __call__(self, prompts, completions, **columns):
        return [self.value] * len(completions)

constant = Score(WORTH)

def length(prompts, completions, **columns):
    return [len(text) for text in completions]

def ranged(prompts, completions, **columns):
    return [0.0] * len(completions)

ranged.reward_range = (1, 0)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a module, a file deeper inside and a broken one; what is imported is forgotten again."""
    deep = tmp_path / "deep"
    deep.mkdir()
    (tmp_path / "worth_here.py").write_text("WORTH = 2.5\n")
    (tmp_path / "mine_here.py").write_text(SOURCE.format(sibling="worth_here"))
    (deep / "worth_deep.py").write_text("WORTH = 3.5\n")
    (deep / "json.py").write_text(SOURCE.format(sibling="worth_deep"))
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    (tmp_path / "lacking_here.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("place", "worth"),
    [("mine_here", 2.5), ("mine_here.py", 2.5), ("deep/json.py", 3.5), ("deep.json", None)],
)
def test_functions_and_objects_are_found_by_module_and_by_file(place, worth, folder):
    if worth is None:  # its sibling is no top-level module of this folder
        with pytest.raises(InputError, match="ModuleNotFoundError: No module named 'worth_deep'"):
            load(f"{place}:length")
        return
    rewards = {"length": load(f"{place}:length"), "constant": load(f"{place}:constant")}
    found = evaluate(rewards, ["p"], ["abc"])
    assert found.values["length"].tolist() == [3.0]
    assert found.values["constant"].tolist() == [worth]


def test_an_absolute_path_works_and_the_standard_library_stays(folder):
    import json

    assert load(f"{folder / 'deep' / 'json.py'}:length")(prompts=["p"], completions=["ab"]) == [2]
    assert sys.modules["json"] is json


def test_an_installed_function_is_found():
    assert load("tests.unit.rewards.test_evaluate:length")(["p"], ["ab"]) == [2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tin",
            "a reward is tiny, package.module:function, path/to/file.py:function or hf:FOLDER_OR_ID; found 'tin'",
        ),
        ("mine_here", "found 'mine_here'"),
        ("mine_here:", "found 'mine_here:'"),
        ("mine_here:a b", "found 'mine_here:a b'"),
        (".mine_here:length", "found '.mine_here:length'"),
        ("hf:", "found 'hf:'"),
        ("no_such_module:length", "there is no module 'no_such_module', neither installed nor in "),
        ("mine_here.inner:length", "there is no module 'mine_here.inner'"),
        ("deep.no_such:length", "there is no module 'deep.no_such'"),
        ("no_such.py:length", "there is no file no_such.py"),
        (
            "broken_here:length",
            "module broken_here must run when it is imported; it raised ZeroDivisionError: div",
        ),
        (
            "broken_here.py:length",
            "file broken_here.py must run when it is imported; it raised ZeroDivisionError",
        ),
        ("lacking_here:length", "it raised ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("mine_here:size", "the module mine_here must have a function size; found length, ranged."),
        ("deep/json.py:size", "the file deep/json.py must have a function size; found length, ranged."),
        ("worth_here:size", "found no function in it"),
        ("mine_here:three", "three in the module mine_here must be a function of prompts and .*; found int"),
        ("mine_here:Score", "found the class Score, not an object of it"),
        ("mine_here:ranged", r"reward_range must be .*; found \(1, 0\)"),
    ],
)
def test_what_is_not_there_is_said(name, message, folder):
    with pytest.raises(InputError, match=message):
        load(name)
    assert not any(module.endswith("broken_here.py") for module in sys.modules)


def test_options_are_for_classifiers_only(folder):
    with pytest.raises(InputError, match="only hf: takes options; found batch_size"):
        load("mine_here:length", batch_size=3)
