"""Assets: what the sessions of a workflow read beside their question, from files or in place.

``assets: {NAME: FILE}`` in a workflow file; the content may also stand there itself. A cast holds
those that its protocol reads (``Protocol.assets()``), and the content, not the path, is part of a
session's identity. The skill profile is no such file: it is measured (``profile:``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from pydantic import JsonValue

from agents.settings import read_yaml, suggestion
from protocols.aggregator_bench import BENCH, bench_answers
from protocols.aggregators import AGGREGATORS, AggregatorScores
from protocols.canonical import clean_text
from protocols.cast import Asset, Cast
from protocols.contract import Protocol
from protocols.convincing import CONVINCING, ConvincingSamples
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE
from protocols.judging import EXEMPLARS, exemplar_parts
from protocols.memory import MEMORY, Memory
from protocols.offline_judge import TRANSCRIPTS, recorded_rounds
from protocols.profile import PROFILE
from protocols.question import Question
from protocols.routing.group import TEAMS
from protocols.similarity import VECTORS, check_vectors
from protocols.skills import MATCHES, SKILLS, check_matches, check_skills
from workflows.questions.sources import locate, open_source

AssetSetting = str | list[Any] | dict[str, Any]
"""A file, or the content itself."""

SKILL_ASSETS = {SKILLS: check_skills, MATCHES: check_matches, VECTORS: check_vectors}
"""Assets on the skills of questions, which whoever reads a profile reads too where they are."""
CHECKS = {
    CONVINCING: ConvincingSamples.from_asset,
    AGGREGATORS: AggregatorScores.from_asset,
    MEMORY: Memory.from_asset,
    **SKILL_ASSETS,
}
"""What refuses an asset that does not hold what its name says."""
KINDS = {
    EXEMPLARS: "exemplars",
    CONVINCING: CONVINCING,
    TRANSCRIPTS: TRANSCRIPTS,
    **{name: name for name in SKILL_ASSETS},
}
"""The assets that moot's own protocols read: name -> kind. Others are of the kind of their name."""
MEASURED = (PROFILE, EVIDENCE)
"""Assets that no file holds: they are measured, by the key ``profile``."""
MADE = (*MEASURED, TEAMS)
"""Assets that no file holds: those, and the teams that are settled over the run's questions."""
_YAML = (".yaml", ".yml")


def checked_assets(data: object, where: str) -> dict[str, AssetSetting]:
    """Return the key ``assets`` of a workflow file.

    Raises:
        Mistake: it is no mapping of names to files or to contents.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise Mistake(f"{where}: not a mapping; write NAME: FILE")
    for name, setting in data.items():
        if name in MEASURED:
            raise Mistake(f"{where}.{name}: this is measured; write  profile: {{path: FILE}}")
        if name == TEAMS:
            raise Mistake(
                f"{where}.{name}: teams are settled over the run's questions; leave it out"
            )
        if not isinstance(setting, (str, list, dict)) or not setting:
            raise Mistake(f"{where}.{name}: neither a file nor its content; write {name}: FILE")
    return {str(name): setting for name, setting in data.items()}


def load_assets(
    settings: Mapping[str, AssetSetting], protocols: Iterable[Protocol]
) -> dict[str, Asset]:
    """Read the assets of a workflow.

    Args:
        settings: name -> a file, or the content itself.
        protocols: those of the workflow; a name that one of them reads is known.

    Raises:
        Mistake: no protocol reads an asset of that name, there is no such file, or it does not
            hold what the name says.
    """
    known = {*KINDS, *(name for protocol in protocols for name in protocol.assets())} - {*MADE}
    loaded = {}
    for name, setting in settings.items():
        where = f"assets.{name}"
        if name not in known:
            raise Mistake(f"{where}: no protocol reads such an asset; {suggestion(name, known)}")
        content = _read(setting, where) if isinstance(setting, str) else setting
        loaded[name] = _asset(name, content, where if content is setting else f"{where}: {setting}")
    return loaded


def asset_problems(
    protocol: Protocol, assets: Mapping[str, Asset], questions: Iterable[Question]
) -> Iterator[str]:
    """Yield what a protocol lacks in the assets that it reads."""
    cast = Cast(members={}, assets=dict(assets))
    for name in protocol.assets():
        if name in MADE:
            continue
        if name not in assets:
            yield f"reads the asset {name!r}; write  assets: {{{name}: FILE}}"
        elif name == EXEMPLARS:
            yield from _refused(exemplar_parts, cast, getattr(protocol, "judge_shots", 1))
        elif name == TRANSCRIPTS:
            yield from _lacking(recorded_rounds, questions, cast)
        elif name == BENCH:
            yield from _lacking(bench_answers, questions, cast)


def _lacking(read: Any, questions: Iterable[Question], cast: Cast) -> Iterator[str]:
    """Yield what is wrong with an asset for the first question that it lacks, and how many."""
    found = [said for question in questions for said in _refused(read, question, cast)]
    if found:
        yield found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def asset_warnings(
    assets: Mapping[str, Asset], protocols: Iterable[Protocol], seated: set[str]
) -> Iterator[str]:
    """Yield which assets have no effect: nobody reads them, or they are about somebody else."""
    read = {name for protocol in protocols for name in protocol.assets()}
    if read & set(MEASURED):
        read |= set(SKILL_ASSETS)
    for name, asset in assets.items():
        if name not in read:
            yield f"assets.{name}: no protocol reads it with these parameters"
        elif name == CONVINCING:
            for expert in ConvincingSamples.from_asset(asset).samples:
                if expert not in seated:
                    yield f"assets.{name}: {expert!r} sits nowhere; {suggestion(expert, seated)}"


def _refused(check: Any, *arguments: Any) -> Iterator[str]:
    try:
        check(*arguments)
    except Mistake as mistake:
        yield str(mistake)


def _asset(name: str, content: object, where: str) -> Asset:
    """Return an asset whose content is what its name says.

    Raises:
        Mistake: it is not.
    """
    asset = Asset(kind=KINDS.get(name, name), content=_clean(content, where))
    if name in CHECKS:
        problems = _refused(CHECKS[name], asset)
    elif name == EXEMPLARS:
        cast = Cast(members={}, assets={EXEMPLARS: asset})
        shots = len(asset.content) if isinstance(asset.content, list) else 1
        problems = _refused(exemplar_parts, cast, shots)
    elif name == TRANSCRIPTS:
        problems = _transcript_problems(asset.content)
    else:
        problems = iter(())
    for problem in problems:
        raise Mistake(f"{where}: {problem}")
    return asset


def _transcript_problems(content: JsonValue) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "not transcripts; write a mapping of question ids (moot export RUN --to transcripts)"
        return
    cast = Cast(members={}, assets={TRANSCRIPTS: Asset(kind=TRANSCRIPTS, content=content)})
    for id in content:
        yield from _refused(recorded_rounds, Question(id=id, text="?", kind="text"), cast)


def _read(path: str, where: str) -> object:
    """Return what a JSON or YAML file holds, compressed or not.

    Raises:
        Mistake: there is no such file, or it is neither.
    """
    try:
        place = locate(path)
        if place.suffix.lower() in _YAML:
            return read_yaml(place)
        source = open_source(path)
    except Mistake as mistake:
        raise Mistake(f"{where}: {mistake}") from None
    try:
        return json.loads(source.content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Mistake(f"{where}: {path}: is not UTF-8 text; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Mistake(f"{where}: {path}, line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise Mistake(f"{where}: {path}: is nested too deeply") from None


def _clean(value: object, where: str) -> Any:
    """Return JSON without what no store can hold; see :func:`protocols.canonical.clean_text`.

    Raises:
        Mistake: it holds something that JSON has no form for.
    """
    if isinstance(value, str):
        return clean_text(value)[0]
    if isinstance(value, list):
        return [_clean(one, where) for one in value]
    if isinstance(value, dict):
        return {clean_text(str(key))[0]: _clean(one, where) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    _refuse(value, where)


def _refuse(value: object, where: str) -> NoReturn:
    raise Mistake(f"{where}: holds a {type(value).__name__} that JSON has no form for")
