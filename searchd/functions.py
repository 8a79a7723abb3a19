"""Whether a study's functions are in the file where they are said to be. It is read, not run: a slip in a name is told
before a process starts, and not by every trial."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from spaces.suggest import did_you_mean
from spaces.task import Task

_DYNAMIC = frozenset({"globals", "locals", "exec", "eval", "setattr", "vars"})
"""A module that calls one of these, says `global` or `sys.modules`, has a `__getattr__` or imports `*`, may have any
name."""


def lacking(task: Task, folder: Path) -> str:
    """What is wrong with the functions that a task names, as far as the files of `folder` say; empty: nothing is known.

    A module that is not there may be installed where the workers are, so nothing is said of it.
    """
    for name in (task.name, "".join(task.describe)) if task.kind == "function" else ():
        module, _, function = name.partition(":")
        file = _file(module, folder)
        if file is None or not function:
            continue
        try:
            found = defined(file.read_bytes())
        except SyntaxError as error:
            return f"{file.name}, line {error.lineno or 1}: {error.msg}"
        except (OSError, ValueError):  # not readable, or no text: the worker says how
            continue
        if found is not None and function not in found:
            return f"{file.name} has no function {function!r}: {did_you_mean(function, sorted(found))}"
    return ""


def defined(source: str | bytes) -> set[str] | None:
    """The names that a module has once it was imported; None where only running it would tell. Raises SyntaxError."""
    tree = ast.parse(source)
    names = set(_names(tree.body))
    return None if any(_dynamic(node) for node in ast.walk(tree)) or names & {"*", "__getattr__"} else names


def _dynamic(node: ast.AST) -> bool:
    """Whether it may bind a name of the module that is not seen where it stands."""
    match node:
        case ast.Global():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="builtins"), attr=name)):
            return name in _DYNAMIC  # and not model.eval()
        case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
            return True
    return False


def _names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """What statements of a module bind, also inside its branches and loops."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
            case _:
                yield from _stored(node)
                for part in ("body", "orelse", "finalbody"):
                    yield from _names(getattr(node, part, ()))
                for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                    yield from _names(handler.body)


def _stored(node: ast.stmt) -> Iterator[str]:
    """What a statement assigns to anywhere in it."""
    return (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store))


def _file(module: str, folder: Path) -> Path | None:
    """The file of a module in `folder`; None where there is none, or an installed one of that name comes first."""
    stem = folder.joinpath(*module.split("."))
    file = next((f for f in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if f.is_file()), None)
    try:
        spec = None if file is None else find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    first = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    return file if spec is None or (first is not None and first.is_relative_to(folder.resolve())) else None
