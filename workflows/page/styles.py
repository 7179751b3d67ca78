"""Colours, in light and dark, and the style sheet of drawings that stand in files of their own.

The series are after Okabe and Ito (2008), darkened or lightened until each has a contrast of 3 to 1
with its ground; they can be told apart by people who see no difference between red and green. The
ninth, grey, is of all rows beyond the eight.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "quiet": "#57606a",
    "rule": "#6e7781",
    "grid": "#dde1e6",
    "band": "#f3f5f7",
    "ok": "#00684b",
    "bad": "#a33b00",
    "s0": "#0067a3",
    "s1": "#c44f00",
    "s2": "#007f5f",
    "s3": "#a84a82",
    "s4": "#8f6200",
    "s5": "#2b86bd",
    "s6": "#3d434a",
    "s7": "#787000",
    "s8": "#6b737c",
}
DARK = {
    "paper": "#14171b",
    "ink": "#e8ebee",
    "quiet": "#a5adb6",
    "rule": "#8b949e",
    "grid": "#343a42",
    "band": "#1e2328",
    "ok": "#4fd0a5",
    "bad": "#ff9a62",
    "s0": "#5db4ee",
    "s1": "#ff9152",
    "s2": "#3fcaa0",
    "s3": "#e69bc8",
    "s4": "#eeb64a",
    "s5": "#a5d8f7",
    "s6": "#d0d5da",
    "s7": "#d8d060",
    "s8": "#98a1ab",
}

_RULES = """
.plot{background:var(--paper)}
.plot text{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:var(--ink)}
.plot text.quiet{fill:var(--quiet)}
.plot text.halo{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.plot .ground{fill:var(--paper)}
.plot path,.plot circle{stroke:var(--paper);stroke-width:1}
.plot path.rule,.plot path.grid,.plot path.line,.plot path.thick,.plot path.thin{fill:none}
.plot path.rule{stroke:var(--rule)}
.plot path.grid{stroke:var(--grid)}
.plot path.line{stroke-width:1.8}
.plot path.thick{stroke-width:4}
.plot path.thin{stroke-width:1.3}
.plot path.dashed{stroke-dasharray:4 3}
"""


def variables(colours: dict[str, str]) -> str:
    """Return colours as declarations of CSS variables."""
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


def drawing_css() -> str:
    """Return the rules of drawings; the variables are the page's."""
    rules = _RULES.strip().replace("\n", "")
    for name in LIGHT:
        if name in ("paper", "grid", "rule"):
            continue
        stroked = ",".join(f".plot path.{kind}.{name}" for kind in ("line", "thick", "thin"))
        rules += f"{stroked}{{stroke:var(--{name})}}"
        filled = f".plot path.mark.{name},.plot circle.{name},.plot rect.{name}"
        rules += f"{filled}{{fill:var(--{name})}}"
    return rules


def file_css() -> str:
    """Return the style sheet of a drawing in a file of its own."""
    dark = f"@media (prefers-color-scheme:dark){{svg{{{variables(DARK)}}}}}"
    return f"svg{{{variables(LIGHT)}}}{dark}{drawing_css()}"
