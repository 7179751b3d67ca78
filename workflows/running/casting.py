"""Who answers: from a workflow and its data to a roster, a pool and the casts of its protocols.

An expert is named in one of three ways: by a label under ``experts``, by the name of a model
whose answers the questions' file records, or as ``provider/model``. A label under ``teams`` seats
a protocol with a cast of its own. The pool is what the workflow names, else the models recorded in
both files (questions and profile), else all of ``experts``. A role that nobody is cast in holds
the pool if it may hold several, else the only expert there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agents.recorded import recorded_model
from agents.roster import Expert, Roster
from agents.settings import suggestion
from orchestrator.rebuild import stored_kind
from orchestrator.spec import Entry, RunSpec
from protocols.cast import Asset, Cast, Member, Team
from protocols.contract import Protocol, Role
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE
from protocols.profile import PROFILE, SkillProfile
from protocols.skills import SKILLS, skills_asset
from workflows.questions.answer_key import AnswerKey
from workflows.questions.data_files import Inputs, run_name
from workflows.questions.sources import PACKED, locate
from workflows.recruiting.measuring import Skilled
from workflows.running.settling import settled
from workflows.settings.assets import SKILL_ASSETS
from workflows.settings.configuration import POOL, ProtocolSpec, RoleCast, Workflow
from workflows.settings.endpoints import fallbacks_of


@dataclass(frozen=True, eq=False)
class Casting:
    """The experts of a workflow and where they sit."""

    workflow: Workflow
    inputs: Inputs

    @cached_property
    def recorded_experts(self) -> dict[str, Expert]:
        """An expert for each model that the questions' file records, by the model's name."""
        file = self.inputs.questions.recorded
        if file is None:
            return {}
        source = file.rows[0].source.replace("/", "_") or "data"
        return {
            model: Expert(label=model, model=f"recorded/{source}/{model}", data=str(file.path))
            for model in file.models
        }

    @cached_property
    def pool(self) -> tuple[str, ...]:
        """The labels of the experts that answer the questions; may be empty."""
        if self.workflow.pool is not None:
            return self.workflow.pool
        if self.inputs.questions.recorded is None:
            return tuple(self.workflow.experts)
        profile = self.inputs.profile
        known = None if profile is None else set(profile.experts)
        return tuple(m for m in self.recorded_experts if known is None or m in known)

    def expert(self, label: str) -> Expert:
        """Return the expert that `label` names.

        Raises:
            Mistake: it names none.
        """
        for known in (self.workflow.experts, self.recorded_experts):
            if label in known:
                return _with_located_data(known[label])
        if "/" in label:
            return Expert(label=label, model=label)
        known_labels = [*self.workflow.experts, *self.workflow.teams, *self.recorded_experts]
        hint = suggestion(label, known_labels)
        raise Mistake(
            f"no expert {label!r} in the roster; {hint} (add it under experts:, or write "
            "provider/model)"
        )

    def role_cast(self, spec: ProtocolSpec, role: str) -> RoleCast | None:
        """Return what the workflow says about a role; the protocol's own cast comes first.

        A team has a cast of its own alone: the workflow's says where the team itself sits.
        """
        if any(spec is team for team in self.workflow.teams.values()):
            return spec.cast.get(role)
        return spec.cast.get(role) or self.workflow.cast.get(role)

    def seated(self, spec: ProtocolSpec, role: Role) -> tuple[str, ...]:
        """Return the labels of the experts in a role; empty where nobody is."""
        said = self.role_cast(spec, role.name)
        if said is not None:
            return tuple(
                label for name in said.experts for label in (self.pool if name == POOL else (name,))
            )
        if role.optional:
            return ()
        if role.many:
            return self.pool
        for candidates in (self.pool, tuple(self.workflow.experts)):
            if len(candidates) == 1:
                return candidates
        return ()

    def reads_passage(self, spec: ProtocolSpec, role: Role) -> bool:
        """Whether a role may read the passage."""
        said = self.role_cast(spec, role.name)
        if said is not None and said.reads_passage is not None:
            return said.reads_passage
        return role.reads_passage

    @cached_property
    def recorded_pool(self) -> dict[str, str]:
        """The pool's experts whose answers to these questions are recorded: label to model."""
        return self._recorded_here(self.pool)

    @cached_property
    def skilled(self) -> Skilled | None:
        """What is known of the pool's experts; None without a profile."""
        source = self.inputs.profile
        if source is None:
            return None
        return source.skilled(
            {
                label: recorded_model(expert) if expert.provider == "recorded" else label
                for label in self.pool
                for expert in (self.expert(label),)
            }
        )

    @property
    def profile(self) -> SkillProfile | None:
        """The pool's skills; None without a profile."""
        return None if self.skilled is None else self.skilled.profile

    @cached_property
    def answer_key(self) -> AnswerKey:
        """The key, with single experts' results for the pool, and the best of it elsewhere."""
        key = self.inputs.questions.key
        seated = {label for spec in self.workflow.protocols for label in self.experts_in(spec)}
        everybody = key.for_experts(self._recorded_here((*self.pool, *sorted(seated))))
        pool = key.for_experts(self.recorded_pool)
        ranking = self.profile.ranking() if self.profile else ()
        best = next((label for label in ranking if label in pool.singles), None)
        return pool.model_copy(update={"flags": everybody.flags, "best_single": best})

    def cast(self, spec: ProtocolSpec, protocol: Protocol, roster: Roster) -> Cast:
        """Return the cast of a protocol."""
        known = self.inputs.assets
        assets: dict[str, Asset] = {n: known[n] for n in protocol.assets() if n in known}
        assets |= self._measured(protocol, spec)
        roles = {role: self.seated(spec, role) for role in protocol.roles()}
        filled = {role: labels for role, labels in roles.items() if labels}
        cast = Cast(
            members={
                role.name: tuple(self.member(label, roster) for label in labels)
                for role, labels in filled.items()
            },
            readers=frozenset(role.name for role in filled if self.reads_passage(spec, role)),
            assets=assets,
        )
        return settled(protocol, self.inputs.questions.questions, cast, self.workflow.seed)

    def member(self, label: str, roster: Roster) -> Member | Team:
        """Return who fills a seat: an expert, or a team with a cast of its own.

        Raises:
            Mistake: nobody has that label, or an expert cannot be identified.
        """
        spec = self.workflow.teams.get(label)
        if spec is None:
            return roster.member(label)
        protocol = spec.build()
        cast = self.cast(spec, protocol, roster)
        return Team.of(label, protocol, cast, kind=stored_kind(protocol))

    def experts_in(self, spec: ProtocolSpec) -> Iterator[str]:
        """Yield the labels of the experts that a protocol asks, those in its teams included."""
        for role in spec.build().roles():
            for label in self.seated(spec, role):
                team = self.workflow.teams.get(label)
                if team is None:
                    yield label
                else:
                    yield from self.experts_in(team)

    def _measured(self, protocol: Protocol, spec: ProtocolSpec) -> dict[str, Asset]:
        """Return what a cast holds of the measured experts: profile, evidence, skills."""
        if self.skilled is None:
            return {}
        read, found = protocol.assets(), {}
        if self._uses_profile(protocol, spec):
            found[PROFILE] = self._profile_asset
        if EVIDENCE in read and self._evidence_asset is not None:
            found[EVIDENCE] = self._evidence_asset
        if (PROFILE in read or EVIDENCE in read) and self._skills_asset is not None:
            found[SKILLS] = self._skills_asset
        if PROFILE in read or EVIDENCE in read:
            found |= {n: a for n, a in self.inputs.assets.items() if n in SKILL_ASSETS}
        return found

    @cached_property
    def _profile_asset(self) -> Asset:
        assert self.skilled is not None
        return self.skilled.profile.as_asset()

    @cached_property
    def _evidence_asset(self) -> Asset | None:
        evidence = None if self.skilled is None else self.skilled.evidence
        return None if evidence is None else evidence.as_asset()

    @cached_property
    def _skills_asset(self) -> Asset | None:
        """The skills of the run's questions, where they are read from their words."""
        words = None if self.skilled is None else self.skilled.text_skills
        if words is None:
            return None
        return skills_asset({q.key: words.skills(q) for q in self.inputs.questions.questions})

    def _uses_profile(self, protocol: Protocol, spec: ProtocolSpec) -> bool:
        """Whether a cast holds the profile: if it must, or if the pool votes (ties need it)."""
        return PROFILE in protocol.assets() or any(
            role.many and self.pool and self.seated(spec, role) == self.pool
            for role in protocol.roles()
        )

    def roster(self) -> Roster:
        """Return the experts that sit somewhere, and then their fallbacks, by label.

        Raises:
            Mistake: a label names no expert.
        """
        labels = [label for spec in self.workflow.protocols for label in self.experts_in(spec)]
        labels += list(fallbacks_of([self.expert(label) for label in dict.fromkeys(labels)]))
        return Roster.from_mapping({label: self.expert(label) for label in labels})

    def _recorded_here(self, labels: tuple[str, ...]) -> dict[str, str]:
        """Return label to model for those whose answers to these very questions are recorded."""
        file = self.inputs.questions.recorded
        found: dict[str, str] = {}
        for label in labels if file is not None else ():
            expert = self.expert(label)
            same = expert.data is not None and file is not None and Path(expert.data) == file.path
            if expert.provider == "recorded" and same:
                found[label] = recorded_model(expert)
        return found


def _with_located_data(expert: Expert) -> Expert:
    """Return an expert whose data lie in a file, also where they come with moot."""
    if expert.data is None or not expert.data.startswith(PACKED):
        return expert
    return expert.model_copy(update={"data": str(locate(expert.data))})


def run_spec(workflow: Workflow, inputs: Inputs) -> RunSpec:
    """Return the run that a workflow describes; ``checking/checks.py`` says what may be wrong.

    Raises:
        Mistake: the workflow cannot be run.
    """
    from workflows.checking.checks import check_workflow

    for problem in check_workflow(workflow, inputs):
        raise Mistake(problem)
    casting = Casting(workflow, inputs)
    roster = casting.roster()
    entries = []
    for spec in workflow.protocols:
        protocol = spec.build()
        cast = casting.cast(spec, protocol, roster)
        entries.append(Entry(spec.name or spec.kind, protocol, cast))
    return RunSpec(
        name=run_name(workflow, inputs),
        entries=tuple(entries),
        questions=inputs.questions.questions,
        experts=tuple(roster.values()),
        seed=workflow.seed,
        repeats=workflow.repeats,
        config=workflow.resolved(),
        answer_key=_with_selection(casting, entries).as_json(),
    )


def _with_selection(casting: Casting, entries: Sequence[Entry]) -> AnswerKey:
    """Return the answer key with the rule that cross-validation selects, where it is asked for."""
    key, spec = casting.answer_key, casting.workflow.profile
    evidence = casting.skilled.evidence if casting.skilled else None
    if spec is None or spec.folds is None or evidence is None:
        return key
    from workflows.recruiting.selection import selection

    tried, best = selection(entries, evidence, spec.folds, seed=casting.workflow.seed)
    return key.model_copy(update={"cross_validated": tried, "selected": best})
