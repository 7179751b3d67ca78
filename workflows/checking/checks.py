"""What is wrong with a workflow before anything is spent, one line each.

A problem keeps a run from starting; a warning does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.engines import capabilities_of
from agents.roster import Roster
from agents.settings import suggestion
from orchestrator.limits.limits import check_limits
from protocols.aggregators import AGGREGATOR, AGGREGATORS, AggregatorScores
from protocols.asks import Model
from protocols.cast import Member
from protocols.contract import Protocol, Role
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE
from protocols.profile import PROFILE
from protocols.skills import SKILLS
from workflows.forecast.rehearsal import rehearse
from workflows.questions.data_files import Inputs
from workflows.recruiting.measuring import Skilled
from workflows.running.casting import Casting
from workflows.settings.assets import asset_problems, asset_warnings
from workflows.settings.configuration import ProtocolSpec, Workflow


def check_workflow(workflow: Workflow, inputs: Inputs) -> list[str]:
    """Return the problems of `workflow` with its data; none means that it can be run."""
    casting = Casting(workflow, inputs)
    found = [*_pool_problems(casting), *_role_names(casting)]
    for place, spec in enumerate(workflow.protocols):
        where = f"protocols[{place}] ({spec.name or spec.kind})"
        protocol = spec.build()
        problems = [
            *_cast_problems(casting, spec, protocol),
            *_profile_problems(casting, protocol),
            *_asset_problems(casting, protocol),
            *_chosen_problems(casting, spec, protocol),
            *_question_problems(casting, protocol),
        ]
        found.extend(f"{where}: {problem}" for problem in problems)
    for label, team in workflow.teams.items():
        protocol = team.build()
        problems = [
            *_cast_problems(casting, team, protocol),
            *_profile_problems(casting, protocol),
            *_asset_problems(casting, protocol),
            *_chosen_problems(casting, team, protocol),
        ]
        found.extend(f"teams.{label} ({team.kind}): {problem}" for problem in problems)
    if not found:
        found += _endpoint_problems(casting)
    if workflow.teams and not found:
        found += _rehearsed(casting)
    return list(dict.fromkeys(found))


def workflow_warnings(workflow: Workflow, inputs: Inputs) -> list[str]:
    """Return what is odd about `workflow` and does not keep it from running."""
    casting = Casting(workflow, inputs)
    found: list[str] = []
    if not any(question.passage for question in inputs.questions.questions):
        found.extend(
            f"cast.{role}: reads_passage has no effect, no question has a passage"
            for role, said in _said(casting)
            if said is True
        )
    seated = {label for spec in _specs(workflow) for label in _labels(casting, spec)}
    found += asset_warnings(inputs.assets, [spec.build() for spec in _specs(workflow)], seated)
    found.extend(f"teams.{label}: sits nowhere" for label in workflow.teams if label not in seated)
    if workflow.repeats > 1 and casting.recorded_pool:
        found.append("repeats: recorded experts give the same answers in every repeat")
    same = inputs.profile.asks_any_of(inputs.questions.questions) if inputs.profile else None
    if same is not None:
        found.append(
            f"profile: the experts were measured on questions of this run too ({same!r}): what is "
            "learned there has seen the answers, and its figures are too good"
        )
    found += _recruiting_warnings(casting)
    file = inputs.questions.recorded
    if file is not None and file.correctness_only:
        found.append(
            f"{workflow.questions.path}: records whether experts were right, not what they "
            "answered: rules that join several experts have nothing to vote on and are missing"
        )
    return list(dict.fromkeys(found))


def _recruiting_warnings(casting: Casting) -> Iterator[str]:
    """Yield what the measured experts lack for the protocols that recruit among them."""
    inputs, skilled = casting.inputs, _skilled(casting)
    if inputs.profile is None or skilled is None:
        return
    name, protocols = inputs.profile.name, [spec.build() for spec in _specs(casting.workflow)]
    reads = any({PROFILE, EVIDENCE} & {*protocol.assets()} for protocol in protocols)
    if reads and not any(skilled.profile.asked.values()):
        yield (
            f"profile: {name} measured the pool on no question: to the rules all experts are "
            "equal, and none of the rules can be selected"
        )
        return
    no_answers = skilled.evidence is not None and not skilled.evidence.answers
    fusers = any(getattr(protocol, "aggregate", "") == "fuser" for protocol in protocols)
    if fusers and no_answers:
        yield (
            f"profile: {name} holds no answers, only who was right: a fuser learns nothing from "
            "it, and votes weighted by accuracy stand in"
        )
    annotates = any(getattr(protocol, "annotate", False) for protocol in protocols)
    if reads and inputs.profile.skills_by_expert and not annotates and SKILLS not in inputs.assets:
        yield (
            f"profile: an expert named the skills of {name}, and nobody names those of this run: "
            "its questions go by category and subject; write  assets: {skills: FILE}  (moot "
            "experts skills)"
        )


def _skilled(casting: Casting) -> Skilled | None:
    try:
        return casting.skilled
    except Mistake:
        return None  # a label of the pool that names nobody, which the pool's problems say


def _endpoint_problems(casting: Casting) -> Iterator[str]:
    """Fallbacks and limits that nobody has."""
    try:
        check_limits(casting.workflow.limits, casting.roster().values())
    except Mistake as mistake:
        yield str(mistake)


def _specs(workflow: Workflow) -> tuple[ProtocolSpec, ...]:
    return (*workflow.protocols, *workflow.teams.values())


def _labels(casting: Casting, spec: ProtocolSpec) -> Iterator[str]:
    """Yield the labels of all who sit in a protocol, teams as such."""
    for role in spec.build().roles():
        yield from casting.seated(spec, role)


class _Understudies(Roster):
    """A roster whose members need no data: who they are is enough for a rehearsal."""

    def member(self, label: str) -> Member:
        return Member(expert=label, model=Model(self[label].model))


def _rehearsed(casting: Casting) -> Iterator[str]:
    """Yield why a protocol with teams in its cast cannot play the first question."""
    roster = _Understudies(casting.roster().experts)
    for place, spec in enumerate(casting.workflow.protocols):
        protocol = spec.build()
        cast = casting.cast(spec, protocol, roster)
        if cast.teams:
            try:
                rehearse(protocol, casting.inputs.questions.questions[0], cast)
            except Mistake as mistake:
                yield f"protocols[{place}] ({spec.name or spec.kind}): {mistake}"


def _said(casting: Casting) -> Iterator[tuple[str, bool | None]]:
    """Yield each role of a cast with what it says about the passage."""
    for cast in (casting.workflow.cast, *(spec.cast for spec in casting.workflow.protocols)):
        for role, said in cast.items():
            yield role, said.reads_passage


def _pool_problems(casting: Casting) -> Iterator[str]:
    for label in casting.pool:
        try:
            casting.expert(label)
        except Mistake as mistake:
            whole = "; pool=null takes all recorded models" if casting.recorded_experts else ""
            yield f"pool: {mistake}{whole}"
    inputs = casting.inputs
    if casting.workflow.pool is None and inputs.questions.recorded and not casting.pool:
        yield "pool: no model is recorded in both files, questions and profile; name a pool"


def _role_names(casting: Casting) -> Iterator[str]:
    """Yield the names in a cast that are no role: a misspelt one would be silently ignored."""
    specs = casting.workflow.protocols
    roles = [{role.name for role in spec.build().roles()} for spec in specs]
    everywhere = set().union(*roles)
    for key in ("cast", "casts"):
        for name in getattr(casting.workflow, key):
            if name not in everywhere:
                hint = suggestion(name, everywhere)
                yield f"{key}.{name}: no protocol here has that role; {hint}"
    for place, spec in enumerate(specs):
        for name in spec.cast:
            if name not in roles[place]:
                hint = suggestion(name, roles[place])
                yield f"protocols[{place}].cast.{name}: {spec.kind} has no such role; {hint}"
    for label, team in casting.workflow.teams.items():
        names = {role.name for role in team.build().roles()}
        for name in team.cast:
            if name not in names:
                hint = suggestion(name, names)
                yield f"teams.{label}.cast.{name}: {team.kind} has no such role; {hint}"


def _cast_problems(casting: Casting, spec: ProtocolSpec, protocol: Protocol) -> Iterator[str]:
    for role in protocol.roles():
        labels = casting.seated(spec, role)
        if not labels and not role.optional:
            yield f"nobody is cast as {role.name!r}; write  cast: {{{role.name}: EXPERT}}"
        elif len(labels) > 1 and not role.many:
            yield f"cast.{role.name}: holds one expert, not {len(labels)}"
        else:
            yield from _role_problems(casting, role, labels)


def _role_problems(casting: Casting, role: Role, labels: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the experts in a role."""
    once = []
    for label in labels:
        if label in casting.workflow.teams:
            yield from _team_draws(casting, role, label)
            if role.scores:
                yield (
                    f"{role.name!r} tells how likely a text is, which no team can, nor {label!r}; "
                    "cast an expert whose engine scores prompts"
                )
            continue
        try:
            expert = casting.expert(label)
            able = capabilities_of(expert)
        except Mistake as mistake:
            if label not in casting.pool or label in casting.workflow.experts:
                yield f"cast.{role.name}: {mistake}"
            continue
        if role.scores and not able.prompt_scoring:
            yield (
                f"{role.name!r} tells how likely a text is, and the engine of {label} cannot; cast "
                "an expert whose engine scores prompts"
            )
        elif not able.draws:
            once.append(expert.model)
    if once and role.draws:
        yield (
            f"{role.name!r} asks the same expert more than once, and {once[0]} holds one recorded "
            "answer to each question; cast an expert that can draw again"
        )
    elif len(set(once)) < len(once):
        double = next(model for model in once if once.count(model) > 1)
        yield f"cast.{role.name}: {double} sits twice, but holds one recorded answer to each"


def _team_draws(casting: Casting, role: Role, label: str) -> Iterator[str]:
    """Yield who in a team cannot be asked as often as the role that the team sits in asks."""
    for member in casting.experts_in(casting.workflow.teams[label]) if role.draws else ():
        try:
            draws = capabilities_of(casting.expert(member)).draws
        except Mistake:
            continue  # a label that names nobody, which the team's own problems say
        if not draws:
            yield (
                f"{role.name!r} asks the team {label!r} more than once, and {member} holds one "
                "recorded answer to each question; cast an expert that can draw again"
            )


def _profile_problems(casting: Casting, protocol: Protocol) -> Iterator[str]:
    needed = [name for name in (PROFILE, EVIDENCE) if name in protocol.assets()]
    if not needed:
        return
    source = casting.inputs.profile
    if source is None:
        yield "needs a skill profile; write  profile: {path: FILE}  with recorded answers"
        return
    skilled = _skilled(casting)
    if skilled is None:
        return
    measured = set(skilled.profile.experts)
    for label in casting.pool:
        if label not in measured:
            hint = suggestion(label, source.experts)
            yield f"the profile {source.name} has no answers of {label!r}; {hint}"
    if EVIDENCE in needed and skilled.evidence is None:
        yield (
            f"learns from single questions, and {source.name} holds sums by skill alone; export it "
            "again with  moot experts profile --out FILE"
        )


def _asset_problems(casting: Casting, protocol: Protocol) -> Iterator[str]:
    questions = casting.inputs.questions.questions
    yield from asset_problems(protocol, casting.inputs.assets, questions)


def _chosen_problems(casting: Casting, spec: ProtocolSpec, protocol: Protocol) -> Iterator[str]:
    """Yield whom the asset of chosen aggregators chooses and the role does not seat."""
    asset = casting.inputs.assets.get(AGGREGATORS)
    if asset is None or AGGREGATORS not in protocol.assets():
        return
    role = next(role for role in protocol.roles() if role.name == AGGREGATOR)
    seated = casting.seated(spec, role)
    for expert in sorted({*AggregatorScores.from_asset(asset).chosen.values()} - {*seated}):
        yield f"the asset {AGGREGATORS!r} chooses {expert!r}, who is not cast as {AGGREGATOR!r}"


def _question_problems(casting: Casting, protocol: Protocol) -> Iterator[str]:
    """Yield why the protocol cannot take the first question that it cannot, and how many those are.

    What to do about it (``questions.pair: true``) is the protocol's to say.
    """
    refusals = (protocol.check_question(q) for q in casting.inputs.questions.questions)
    reasons = [reason for reason in refusals if reason]
    if reasons:
        yield reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")
