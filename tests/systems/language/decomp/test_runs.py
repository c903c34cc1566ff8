"""The stages after each other on barely trained models: what is written, scored, and held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages.run import StageRun
from systems.language.decomp import decompose as runs
from systems.language.decomp import evaluate as scores
from systems.language.decomp import models, symbolic, tasks
from systems.language.decomp.methods import trained_methods
from systems.parts.char_lm import CharLM, CharLMParams, Vocabulary
from systems.parts.errors import UserError
from systems.parts.interpreter import Draft, Library, solve
from systems.parts.programs import Node, from_plain, replay, to_value
from systems.parts.run import SCORE


class Perfect:
    """Answers as the symbolic handlers do, in the place of a trained model."""

    def complete(self, handler: str, texts: list[str]) -> list[str]:
        if handler in symbolic.DECOMPOSERS:
            drafts = [draft_of(text) for text in texts]
            return [guesses[0].text for guesses in symbolic.DECOMPOSERS[handler](drafts)]
        questions = [text.removesuffix("\nA: ") for text in texts]
        return list(symbolic.HANDLERS[handler](questions))


def draft_of(text: str) -> Draft:
    """The inverse of `Draft.text`."""
    question, *lines = text.removeprefix("QC: ").removesuffix("QS: ").splitlines()
    pairs = zip(lines[0::2], lines[1::2], strict=True)
    return Draft(question, tuple((s.removeprefix("QS: "), to_value(a.removeprefix("A: "))) for s, a in pairs))


def decomposed(data: Path, folder: Path, **changes: Any) -> StageRun[Any]:
    params = runs.Params.model_validate({"data": "decomp", **changes})
    inputs = {"data": data, **({"model": Path(params.model)} if params.model else {})}
    run = StageRun("decompose", "decomp", params, inputs, folder / "layers", folder / "rd")
    run.begin()
    runs.decompose(run)
    run.finish([folder / "layers", folder / "rd" / "metrics.json", folder / "rd" / "plots"])
    return run


def evaluated(data: Path, layers: Path, folder: Path) -> StageRun[Any]:
    params = scores.Params(data="decomp", layers="decomp")
    run = StageRun("evaluate", "decomp", params, {"data": data, "layers": layers}, folder / "none", folder / "re")
    run.begin()
    scores.evaluate(run)
    run.finish([folder / "re" / "metrics.json", folder / "re" / "plots", folder / "re" / "holds.json"])
    return run


def test_by_rule_everything_is_right_and_look_ups_by_one_reader_or_several_agree(data: Path, tmp_path: Path) -> None:
    decomposed(data, tmp_path, backends=["symbolic"])
    run = evaluated(data, tmp_path / "layers", tmp_path)
    assert run.metrics[SCORE] == 0
    shares = {row["method"]: row for row in pq_rows(tmp_path / "layers", "look_up")}
    assert set(shares) == {"coarse", "fine"}
    assert all(scores.right(row) for row in pq_rows(tmp_path / "layers", "look_up"))
    assert (tmp_path / "re" / "plots" / "accuracy-look_up.png").is_file()
    assert (tmp_path / "rd" / "plots" / "trace-reverse.png").is_file()
    assert (tmp_path / "rd" / "plots" / "trace-letters.png").is_file()


def pq_rows(folder: Path, suite: str) -> list[dict[str, Any]]:
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [row for row in rows if row["suite"] == suite]


def test_every_method_of_every_seed_runs_and_two_runs_write_the_same_bytes(
    data: Path, model: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        decomposed(data, tmp_path / name, backends=["symbolic", "trained"], model=str(model))
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n / "layers").iterdir()} for n in ("one", "two"))
    assert first == second
    names = {"decomposed", "replaced", "replaced_lookup", "one_level", "direct", "chain", "control", "handlers"}
    assert {name for name in first if "symbolic" not in name} == {
        *(f"{name}-{seed}.parquet" for name in names for seed in (0, 1)),
        "coarse-0.parquet",
        "fine-0.parquet",
    }
    run = evaluated(data, tmp_path / "one" / "layers", tmp_path)
    assert {hold["id"] for hold in run.holds} == {"51.3", "51.4", "51.5", "51.6"}
    assert run.metrics[SCORE] > 0.5  # two steps teach nothing
    assert [h["holds"] for h in run.holds if h["id"] == "51.3" and "ahead of" in h["statement"]] == [False] * 3


def test_perfect_models_pass_what_the_decomposition_is_asked_for(data: Path, tmp_path: Path) -> None:
    own: Any = {"handlers": Perfect(), "writer": Perfect()}
    tests = pq.read_table(data / "tests.parquet").to_pylist()
    folder = tmp_path / "layers"
    folder.mkdir()
    run = StageRun("decompose", "decomp", runs.Params(data="decomp"), {}, folder, tmp_path / "r")
    for method in trained_methods(own, learned_lists=False):
        runs.write(folder, method.name, 0, runs.answers(run, method, 0, tests))
    rows = scores.read(folder)
    assert {name: all(map(scores.right, own_rows)) for name, own_rows in rows.items()} == dict.fromkeys(rows, True)
    scores.record_replacements(run, rows, scores.accuracy(rows, "letters"))
    assert [hold["holds"] for hold in run.holds] == [True] * 4
    assert run.metrics["replacement/replaced: runs compared"] == len([r for r in tests if r["suite"] == "letters"])


def test_holds_51_4_replacing_the_letter_handler_leaves_the_inputs_of_all_others() -> None:
    words = ["stone", "layer", "onion"]
    question, answer = tasks.letter_cat(words, 3, "space")
    two_levels = symbolic.library()
    leaf = {**symbolic.HANDLERS, "str_position": symbolic.HANDLERS["letter"]}
    one_level = Library(leaf, {"letter_cat": symbolic.DECOMPOSERS["letter_cat"]})
    nodes = [solve(library, "letter_cat", [question])[0].node for library in (two_levels, one_level)]
    assert all(node is not None and node.answer == answer for node in nodes)
    a, b = (node for node in nodes if node is not None)
    assert scores.others(a) == scores.others(b)
    assert a.counts() - b.counts() == {"split": 3, "arr_position": 3}


def test_a_changed_input_of_another_handler_is_seen() -> None:
    question, _ = tasks.letter_cat(["ab", "cd"], 1, "space")
    node = solve(symbolic.library(), "letter_cat", [question])[0].node
    assert node is not None
    first, *rest = node.steps
    call = Node("split", "something else", first.answer)
    other = Node(node.handler, node.question, node.answer, (type(first)(first.text, first.answer, (call,)), *rest))
    assert scores.same_answers(node, other)
    assert scores.others(node) != scores.others(other)
    assert not scores.replays(other)


def test_holds_51_6_calls_counted_in_a_trace_are_those_its_steps_made(data: Path, tmp_path: Path) -> None:
    decomposed(data, tmp_path, backends=["symbolic"])
    for row in (row for suite in scores.SUITES for row in pq_rows(tmp_path / "layers", suite)):
        node = from_plain(to_value(row["trace"]))
        assert replay(node) == node.answer == to_value(row["given"])
        assert sorted(node.counts().elements()) == sorted(scores.calls_made(node))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backends": ["trained"]}, "parameter model is empty"),
        ({"backends": ["local"]}, "parameter weights is empty"),
        ({"backends": ["hosted"]}, "parameter endpoint.base_url is empty"),
    ],
)
def test_holds_51_7_a_backend_without_its_setting_is_named(
    data: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        decomposed(data, tmp_path, **changes)


def test_a_local_model_that_was_not_fetched_is_left_out_in_words(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = runs.Params(data="decomp", weights="smollm2", backends=("symbolic", "local"))
    run = StageRun("decompose", "decomp", params, {"data": data, "weights": tmp_path}, tmp_path / "l", tmp_path / "r")
    run.begin()
    runs.decompose(run)
    assert "backend 'local' is left out" in capsys.readouterr().err
    assert {path.name for path in run.output.iterdir()} == {"symbolic-0.parquet", "coarse-0.parquet", "fine-0.parquet"}


def test_a_prompt_that_cannot_be_read_has_no_continuation() -> None:
    vocabulary = Vocabulary(tasks.PIECES)
    model = models.CharModel(CharLM(CharLMParams(width=16, depth=1, heads=2), len(vocabulary)), vocabulary)
    assert model.complete("letter", ["é?\nA: "]) == [""]
    assert model.complete("letter", []) == []


def test_a_chain_of_thought_counts_by_what_it_concludes() -> None:
    answer = models.concluded(lambda questions: [f'First. {tasks.SO}"a b"', '"c"'][: len(questions)])
    assert answer(["p", "q"]) == ['"a b"', '"c"']
