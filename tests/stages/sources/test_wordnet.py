"""fetch and validation of WordNet: lines of the data files, the sample, the package, and spoilt tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.closure import PROJECT
from stages.expectations import expect
from stages.registries.packages import Unavailable
from stages.run import StageRun
from stages.sources import wordnet
from systems.parts.errors import UserError
from systems.parts.wordnet import FILES, Pointer, Synset, read_wordnet, write_wordnet

LICENCE = b"  1 This software and database is being provided to you\n"
NOUN = b'00001740 03 n 02 entity 0 thing 1 002 ~ 00001930 n 0000 + 00000005 v 0101 | that which is; "it | is"  \n'
OTHER = b"00001930 17 n 01 physical_entity 0 002 @ 00001740 n 0000 ! 99999999 n 0000 | an entity  \n"
VERB = b"00000005 29 v 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 001 + 00001740 n 0101 01 + 02 00 | to be  \n"
FILES_OF = {"n": LICENCE + NOUN + OTHER, "v": LICENCE + VERB, "a": LICENCE, "r": LICENCE}


def fetched(folder: Path, source: str) -> Path:
    given = wordnet.Params.model_validate({"source": source})
    inputs = {"samples": PROJECT / "data" / "samples"}
    run = StageRun("fetch", "wordnet", given, inputs, folder / "wordnet", folder / "reports")
    run.begin()
    wordnet.fetch(run)
    return run.output


def checked(folder: Path, reports: Path, synsets: int = 3) -> StageRun[wordnet.Checks]:
    given = wordnet.Checks(data="sources/wordnet", synsets=synsets)
    run = StageRun("validate", "wordnet", given, {"data": folder}, reports / "no", reports, expecter=expect)
    run.begin()
    wordnet.validate(run)
    return run


def test_lines_become_synsets_and_pointers_that_lead_somewhere() -> None:
    synsets, pointers = wordnet.parsed(FILES_OF)
    assert synsets == [
        Synset("n00001740", "entity thing", 3, 'that which is; "it | is"'),
        Synset("n00001930", "physical_entity", 17, "an entity"),
        Synset("v00000005", "a b c d e f g h i j", 29, "to be"),
    ]
    assert pointers == [Pointer(0, 1, "~"), Pointer(0, 2, "+"), Pointer(1, 0, "@"), Pointer(2, 0, "+")]


def test_tables_come_back_as_one_graph(tmp_path: Path) -> None:
    write_wordnet(tmp_path, *wordnet.parsed(FILES_OF))
    net = read_wordnet(tmp_path)
    assert (net.names[2], net.glosses[1], net.labels.tolist()) == ("v00000005", "an entity", [3, 17, 29])
    assert [FILES[label] for label in net.labels] == ["noun.Tops", "noun.object", "verb.body"]
    assert net.graph.degrees.tolist() == [2, 1, 1]
    assert net.graph.indices.tolist() == [1, 2, 0, 0]
    with pytest.raises(UserError, match="no WordNet in it; run: python -m stages fetch wordnet"):
        read_wordnet(tmp_path / "none")


def test_the_sample_needs_no_network_and_is_valid(tmp_path: Path) -> None:
    net = read_wordnet(fetched(tmp_path, "sample"))
    assert len(net.names) == 738
    assert (net.graph.degrees > 0).mean() > 0.9
    assert len(np.unique(net.labels)) > 20
    run = checked(tmp_path / ".wordnet.partial", tmp_path / "reports", 738)
    assert run.metrics["synsets"] == 738
    assert sum(path.stat().st_size for path in (PROJECT / "data/samples/wordnet").iterdir()) < 300_000


def test_the_package_is_read_when_it_is_the_one_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"usr/share/wordnet/data.{part}": FILES_OF[letter] for letter, part in wordnet.PARTS.items()}
    monkeypatch.setattr(wordnet, "obtain", lambda *_: tmp_path / "package")
    monkeypatch.setattr(wordnet, "members", lambda _, name: [("", names[name])])
    with pytest.raises(UserError, match=r"source = package: cannot be had .content of package: sha256 expected"):
        fetched(tmp_path, "package")
    monkeypatch.setattr(wordnet, "CONTENT", wordnet.sha256(b"".join(FILES_OF.values())).hexdigest())
    assert len(read_wordnet(fetched(tmp_path, "package")).names) == 3


def test_without_a_network_the_sample_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Path:
        raise Unavailable("no\nnetwork")

    monkeypatch.setattr(wordnet, "obtain", gone)
    with pytest.raises(UserError, match=r"cannot be had .no network.; `sample` needs no network"):
        fetched(tmp_path, "package")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "x1"}, "part of speech and offset"),
        ({"gloss": ""}, "features are made of glosses"),
        ({"file": 45}, "not a lexicographer file"),
        ({"name": "n00001930"}, "a name names one synset"),
    ],
)
def test_spoilt_synsets_are_found(tmp_path: Path, change: dict[str, object], words: str) -> None:
    synsets, pointers = wordnet.parsed(FILES_OF)
    write_wordnet(tmp_path, [synsets[0]._replace(**change), *synsets[1:]], pointers)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words):
        checked(tmp_path, tmp_path / "reports")


def test_pointers_to_nowhere_and_too_few_synsets_are_found(tmp_path: Path) -> None:
    synsets, pointers = wordnet.parsed(FILES_OF)
    write_wordnet(tmp_path, synsets, [*pointers, Pointer(0, 3, "@")])
    with pytest.raises(UserError, match="it leads nowhere"):
        checked(tmp_path, tmp_path / "reports")
    write_wordnet(tmp_path, synsets, pointers)
    assert pq.read_table(tmp_path / "pointers.parquet").num_rows == 4
    with pytest.raises(UserError, match="fewer synsets than there should be"):
        checked(tmp_path, tmp_path / "reports", 4)
