"""A name in place of a list of names is not read letter by letter."""

from __future__ import annotations

import pytest

import aam_nb as aam
from aam_nb.config import ConfigError
from aam_nb.explain.attention.difference import compare_attention
from aam_nb.explain.attention.maps import attention
from aam_nb.explain.attention.motifs import motifs
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.faithfulness.faithfulness import faithfulness
from aam_nb.explain.faithfulness.recovery import recovery
from aam_nb.explain.ids import as_id_list
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study


def test_lists_are_taken_as_they_are() -> None:
    assert as_id_list("samples", iter(["a", 1])) == ["a", "1"]  # type: ignore[list-item]


def test_a_lone_name_is_refused_everywhere(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1].keep_samples(sides[1].sample_ids[:2])
    one, asv = str(test.sample_ids[0]), str(test.asv_ids[0])
    found = attribute(fitted, test)
    for name, ask in {
        "samples": lambda: attention(fitted, test, samples=one),
        "asvs": lambda: motifs(fitted, test, asvs=asv),
        "a": lambda: compare_attention(fitted, test, a=one, b=[one]),
        "planted": lambda: recovery(found, asv),
    }.items():
        with pytest.raises(UnknownIdError, match=f"{name} is .*Expected a list of ids. Use `{name}="):
            ask()
    with pytest.raises(UnknownIdError, match="planted is"):
        faithfulness(found, planted=asv)


def test_a_sample_named_twice_is_looked_at_once(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    one = str(sides[1].sample_ids[0])
    assert list(attention(fitted, sides[1], samples=[one, one], levels=("pooling",)).pooling) == [one]


def test_odd_arguments_get_one_sentence(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    with pytest.raises(UnknownIdError, match=r"clade is 'x'. The tree has the nodes 0"):
        motifs(fitted, sides[1], clade="x")  # type: ignore[arg-type]
    with pytest.raises(ExplainError, match="Expected 16 numbers, not all zero"):
        attribute(fitted, sides[1], direction="abc")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"resamples is 0. Expected at least 1"):
        recovery(attribute(fitted, sides[1]), list(sides[1].asv_ids), resamples=0)
