"""Ids of two files that do not match: in what they differ, told as a hint. Nothing is renamed here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from aam_nb.config import count_noun, cut_list

SLIPS: dict[str, Callable[[str], str]] = {
    "a .0 suffix, as spreadsheets write": lambda i: re.sub(r"\.0+$", "", i),
    "blanks": lambda i: re.sub(r"\s", "", i),
    "capital letters": str.lower,
    "leading zeros": lambda i: re.sub(r"(?<![0-9])0+(?=\d)", "", i),
    "an X in front, as R writes": lambda i: re.sub(r"^X(?=\d)", "", i),
    "accents that are coded in another way": lambda i: unicodedata.normalize("NFC", i),
    "dots, dashes or underscores": lambda i: re.sub(r"[-_.]", "", i),
    "names of sequencing files": lambda i: re.sub(FILE_ENDS, "", i, flags=re.IGNORECASE),
    "quotes": lambda i: re.sub(r"['\"`]", "", i),
    "a study's number in front, as Qiita writes": lambda i: re.sub(r"^\d{2,6}\.(?=.)", "", i),
}
"""Differences between two ids of the same thing, and how to remove each from an id."""
FILE_ENDS = (
    r"(?:[._-]S\d+)?(?:[._-]L\d{3})?(?:[._-]R?[12])?(?:[._-]001)?(?:[._-](?:trimmed|filtered|filt|F_filt|paired|merged))?"
    r"(?:\.(?:fastq|fq|fasta|fa|bam))?(?:\.gz)?$"
)
"""What the ends of sequencing files' names add to a sample's: `_S1_L001_R1_001.fastq.gz`, `_R1`, `_S12`."""
LONGEST = 40
"""Letters of a beginning or an end that ids may share."""
SEVERAL = "several such differences at once"
MOST_LOOKED_AT = 50_000
"""Ids that hints are looked for among."""


def describe_slips(lost: Iterable[str], extra: Iterable[str]) -> str:
    """The differences because of which ids do not match, with an example of each; empty where there is none."""
    lost, extra = list(lost)[:MOST_LOOKED_AT], list(extra)[:MOST_LOOKED_AT]
    slips: list[str] = []
    strips = SLIPS if lost and extra else {}
    for slip, strip in {**strips, SEVERAL: _strip_all}.items() if strips else ():
        pairs = _pair(lost, extra, strip)
        if pairs and (slip != SEVERAL or not slips):
            slips.append(_describe_pairs(slip, pairs))
    if lost and extra and not slips:
        affix = _find_affix(lost, extra)
        if not affix:  # beside other differences
            bare = [[_strip_all(i) for i in ids] for ids in (lost, extra)]
            affix = _find_affix(*bare)
            affix = f"{SEVERAL}, {affix}" if affix else ""
        if affix:
            slips.append(affix)
    return ", or ".join(slips)


def _pair(lost: list[str], extra: list[str], strip: Callable[[str], str]) -> list[tuple[str, str]]:
    """The ids that are the same once stripped; none where what is left tells too few of them apart."""
    theirs = {strip(i): i for i in reversed(extra)}
    pairs = [(i, theirs[key]) for i in lost if (key := strip(i)) in theirs and key]
    return pairs if len({other for _, other in pairs}) > len(pairs) / 2 else []


def _describe_pairs(slip: str, pairs: list[tuple[str, str]]) -> str:
    one, other = pairs[0]
    return f"{slip} ({count_noun(len(pairs), 'id')}, such as {cut_list([one])!r} and {cut_list([other])!r})"


def _strip_all(name: str) -> str:
    for strip in ("blanks", "quotes", "names of sequencing files", "a .0 suffix, as spreadsheets write"):
        name = SLIPS[strip](name)
    name = SLIPS["a study's number in front, as Qiita writes"](SLIPS["an X in front, as R writes"](name))
    return SLIPS["dots, dashes or underscores"](SLIPS["leading zeros"](unicodedata.normalize("NFC", name).lower()))


def _find_affix(lost: list[str], extra: list[str]) -> str:
    """A beginning or an end that all ids of one side have and the other side lacks, such as `10317.` or `_run2`."""
    sides = {"the table": (lost, extra), "the other file": (extra, lost)}
    for ids, others in sides.values():
        known, start = set(others), _shared_start(ids)
        end = _shared_start([i[::-1] for i in ids])[::-1]
        if len(ids) < 2:
            continue
        for affix, where in ((start, "in front of"), (end, "behind")):
            # The common part may reach into the ids themselves, as in S1 of S10 and S11: the longest that leaves known ids.
            for size in range(min(len(affix), LONGEST), 0, -1):
                cut = affix[:size] if where == "in front of" else affix[len(affix) - size :]
                bare = [i[size:] if where == "in front of" else i[:-size] for i in ids]
                pairs = [(i, b) for i, b in zip(ids, bare, strict=True) if b in known]
                if len(pairs) > len(ids) / 2:
                    return _describe_pairs(f"{cut!r} {where} the ids", pairs)
    return ""


def _shared_start(names: list[str]) -> str:
    """The letters with which all names begin."""
    first, last = min(names), max(names)
    same = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]
