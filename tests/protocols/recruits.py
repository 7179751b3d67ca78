"""Evidence for tests: five experts, each good at something else, on twelve questions."""

from __future__ import annotations

from protocols.evidence import Evidence, EvidenceQuestion

ASKED = {
    "science": ("How many moons has Mars?", "Which planet is the largest?", "How far is the sun?"),
    "math": ("What is 7 times 8?", "What is the sum of 3 and 9?", "How many primes are below 10?"),
    "law": ("What is a tort?", "Who signs a contract?", "What does a judge decide?"),
    "fiction": ("Who opened the door?", "Why did the cook run?", "Who hid the key?"),
}
RIGHT = {
    "ada": "110111000010",
    "bob": "100001111011",
    "cy": "011100010111",
    "dee": "000000000000",
    "eve": "1---1---0---",
}  # fmt: skip
COST = {"ada": 4.0, "bob": 3.0, "cy": 2.0, "dee": 1.0}

EVIDENCE_OF_POOL = Evidence(
    questions=tuple(
        EvidenceQuestion(id=f"v/{category}/{n}", text=text, category=category)
        for category, texts in ASKED.items()
        for n, text in enumerate(texts)
    ),
    right=RIGHT,
    answers={
        expert: tuple("A" if flag == "1" else None if flag == "-" else "BC"[n % 2]
                      for n, flag in enumerate(flags))
        for expert, flags in RIGHT.items()
    },
    cost=COST,
    cost_unit="usd",
    measured_on="twelve questions",
)  # fmt: skip
