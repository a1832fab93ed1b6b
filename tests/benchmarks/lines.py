"""How much code there is: ``python tests/benchmarks/lines.py``.

Counts lines of code without blank lines, comments and docstrings, and lists what is larger than the
contributors' guide allows: functions of more than 70 lines, modules of more than 420 (all counted).
"""

import ast
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_FUNCTION, MAX_MODULE = 70, 420
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_LAYOUT |= {tokenize.ENCODING, tokenize.ENDMARKER}


def count(path: Path) -> int:
    """The number of lines of a module that contain code."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    code = {
        line
        for token in tokens
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - set(_docstrings(ast.parse(path.read_bytes()))))


def _docstrings(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        for body in (value for name, value in ast.iter_fields(node) if name == "body"):
            # A string alone is not code: a docstring, or the description of an attribute.
            for statement in body if isinstance(body, list) else ():
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield from range(statement.lineno, (statement.end_lineno or 0) + 1)


def too_large(path: Path) -> Iterator[str]:
    """The functions of a module that are too large, and the module itself."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if (lines := len(text.splitlines())) > MAX_MODULE:
        yield f"{name}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION:
                yield f"{name}: {node.name}: {lines} lines"


def main() -> None:
    """Print the count of each part, and what is too large."""
    counts = Counter[str]()
    modules = sorted((ROOT / "dlftask").rglob("*.py"))
    for path in modules:
        folders = path.relative_to(ROOT).parts[:-1]
        counts["/".join(folders)] += count(path)
    for name, lines in sorted(counts.items()):
        print(f"{lines:6,}  {name}")
    simulator = counts.pop("dlftask/simulator", 0)
    print(f"{counts.total():6,}  all but the simulator, which has {simulator:,}")
    for path in modules:
        for finding in too_large(path):
            print(finding)


if __name__ == "__main__":
    main()
