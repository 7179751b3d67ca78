"""The first example: two baselines debate about ten stories, without a key or a GPU.

``python -m workflows.hello`` runs it; then ``moot show hello --store hello.db`` reads on.
"""

from workflows import compare


def main() -> None:
    """Compare a debate with a direct answer and print what came out."""
    result = compare(
        ["direct_answer", {"kind": "debate", "rounds": 2}],
        questions={"path": "moot:nyu_passages", "limit": 10},
        roster={"debater": "offline/quote-debater", "judge": "offline/lexical-judge"},
        cast={"debater": "debater", "judge": "judge"},
        name="hello",
        store="hello.db",
    )
    for row in result.rows:
        print(f"{row.name:15} {row.correct:g} of {row.n} right, {row.calls:g} calls")  # noqa: T201


if __name__ == "__main__":
    main()
