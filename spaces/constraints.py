"""Constraints between parameters: expressions such as `width * depth <= 96`, `sum(bits) >= 8`, `optimizer.sgd.lr < 1`.

Names are flat names; `bits` is the list of a repeated parameter's active values and `bits[0]` its first. A constraint
that reads an inactive parameter (or an element that is not there) does not apply and holds. An expression that cannot
be computed (a division by zero, an overflow) does not hold. `simpleeval` evaluates; Python's `eval` is never used, and
powers are taken in floating point so that no expression can take long.
"""

from __future__ import annotations

import ast
import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import simpleeval

from spaces.errors import SpaceError
from spaces.scalarizers import SCALARIZERS
from spaces.suggest import did_you_mean

LONGEST = 1000
"""Characters in one expression."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "all": all, "any": any, "ceil": math.ceil, "float": float, "floor": math.floor, "int": int,
    "len": len, "log": math.log, "log2": math.log2, "log10": math.log10, "max": max, "min": min, "round": round,
    "sqrt": math.sqrt, "sum": sum,
}  # fmt: skip

_ALLOWED: tuple[type[ast.AST], ...] = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.IfExp, ast.Call, ast.Name, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List,
    ast.GeneratorExp, ast.ListComp, ast.comprehension, ast.Load, ast.Store,
)  # fmt: skip

_lock = threading.Lock()
_evaluator = simpleeval.EvalWithCompoundTypes(
    operators={**simpleeval.DEFAULT_OPERATORS, ast.Pow: math.pow}, functions={**FUNCTIONS, **SCALARIZERS}, names={}
)


@dataclass(frozen=True, slots=True)
class Constraint:
    """One expression, the names it reads, and how far a config is from it."""

    text: str
    reads: frozenset[str]
    _tree: ast.expr

    @classmethod
    def parse(
        cls, text: str, names: Iterable[str], lists: Iterable[str] = (), functions: Collection[str] = FUNCTIONS
    ) -> Constraint:
        """`names`: flat names; `lists`: names of repeated parameters; `functions`: those that may be called. SpaceError
        says what is wrong with `text`."""
        if not isinstance(text, str) or not text.strip():
            raise SpaceError(f"{text!r} is not an expression: write one as text, such as 'width * depth <= 96'")
        if len(text) > LONGEST:
            raise SpaceError(f"the expression has {len(text)} characters, more than {LONGEST}: split it in several")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            binder = _Binder(text, frozenset(names), frozenset(lists), functions)
            bound = binder.visit(tree)
        except SyntaxError as error:
            raise SpaceError(f"{text!r} is not an expression: {error.msg}") from None
        except (RecursionError, MemoryError, ValueError):
            raise SpaceError(f"{text[:60]!r}... is nested too deeply or holds odd characters: simplify it") from None
        if not binder.reads:
            raise SpaceError(f"{text!r} reads no parameter: it is always the same; name one, or leave it out")
        return cls(text=text, reads=frozenset(binder.reads), _tree=bound)

    def violation(self, scope: Mapping[str, Any]) -> float:
        """0 when it holds or does not apply; above 0 otherwise, smaller when nearer.

        `scope`: active flat names and lists. SpaceError when the expression mixes types (`"sgd" < 3`).
        """
        if not all(name in scope for name in self.reads):
            return 0.0
        try:
            return self._degree(self._tree, scope)
        except IndexError:
            return 0.0
        except (ZeroDivisionError, OverflowError, ValueError):
            return 1.0
        except SpaceError:
            raise
        except Exception as error:  # simpleeval and Python raise many kinds; each is the expression's fault
            raise SpaceError(f"{self.text!r} cannot be computed: {error}") from None

    def value(self, scope: Mapping[str, Any]) -> Any:
        """What the expression gives; SpaceError when it mixes types, Python's own errors of arithmetic."""
        try:
            return self._value(self._tree, scope)
        except (ZeroDivisionError, OverflowError, ValueError, SpaceError):
            raise
        except Exception as error:
            raise SpaceError(f"{self.text!r} cannot be computed: {error}") from None

    def _degree(self, node: ast.expr, scope: Mapping[str, Any]) -> float:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return sum(self._degree(v, scope) for v in values)
            case ast.BoolOp(op=ast.Or(), values=values):
                return min(self._degree(v, scope) for v in values)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                total, a = 0.0, self._value(left, scope)
                for op, right in zip(ops, rights, strict=True):
                    b = self._value(right, scope)
                    if not simpleeval.DEFAULT_OPERATORS[type(op)](a, b):
                        total += _gap(a, b)
                    a = b
                return total
            case _:
                return 0.0 if self._value(node, scope) else 1.0

    def _value(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        with _lock:
            _evaluator.names = dict(scope)
            return _evaluator.eval(self.text, previously_parsed=node)


def _gap(a: Any, b: Any) -> float:
    """How far two compared numbers are apart, in (0, 1]; 1 for anything else."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        gap = abs(a - b) / (1.0 + abs(a) + abs(b))
        return max(min(gap, 1.0), 1e-9) if math.isfinite(gap) else 1.0
    return 1.0


class _Binder(ast.NodeTransformer):
    """Replaces `optimizer.sgd.lr` and `bits[0]` by one name each, and refuses all that is not arithmetic."""

    def __init__(self, text: str, names: frozenset[str], lists: frozenset[str], functions: Collection[str]) -> None:
        self.text, self.names, self.lists, self.functions = text, names, lists, functions
        self.reads: set[str] = set()
        self._local: list[set[str]] = []

    def visit(self, node: ast.AST) -> Any:
        flat = self._flat(node)
        if flat is not None and flat in self.names:
            self.reads.add(flat)
            return ast.copy_location(ast.Name(id=flat, ctx=ast.Load()), node)
        if isinstance(node, ast.Attribute):
            raise SpaceError(f"{ast.unparse(node)!r} in {self.text!r} is no parameter: {self._near(flat)}")
        if not isinstance(node, _ALLOWED):
            raise SpaceError(f"{type(node).__name__} is not allowed in {self.text!r}: use arithmetic and comparisons")
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in {n for names in self._local for n in names}:
            return node
        if node.id in self.lists:
            self.reads.add(node.id)
            return node
        raise SpaceError(f"{node.id!r} in {self.text!r} is no parameter: {self._near(node.id)}")

    def visit_Call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in self.functions:
            called = ast.unparse(node.func)
            raise SpaceError(f"{called!r} in {self.text!r} is no function here: {did_you_mean(called, self.functions)}")
        if node.keywords:
            raise SpaceError(f"keyword arguments are not allowed in {self.text!r}")
        node.args = [self.visit(a) for a in node.args]
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp | ast.ListComp) -> Any:
        bound: set[str] = set()
        for gen in node.generators:
            gen.iter = self.visit(gen.iter)
            if not isinstance(gen.target, ast.Name) or gen.is_async:
                raise SpaceError(f"{self.text!r}: a comprehension has one plain name, such as 'for b in bits'")
            if gen.target.id in self.names or gen.target.id in self.lists:
                raise SpaceError(f"{gen.target.id!r} in {self.text!r} is a parameter's name: choose another")
            bound.add(gen.target.id)
        self._local.append(bound)
        node.elt = self.visit(node.elt)
        for gen in node.generators:
            gen.ifs = [self.visit(i) for i in gen.ifs]
        self._local.pop()
        return node

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        return self.visit_GeneratorExp(node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool | int | float | str) or node.value is None:
            return node
        raise SpaceError(f"{node.value!r} is not allowed in {self.text!r}: use numbers and strings")

    def _flat(self, node: ast.AST) -> str | None:
        match node:
            case ast.Name(id=name):
                return None if any(name in names for names in self._local) else name
            case ast.Attribute(value=value, attr=attr):
                head = self._flat(value)
                return None if head is None else f"{head}.{attr}"
            case ast.Subscript(value=value, slice=ast.Constant(value=int(index))) if index >= 0:
                head = self._flat(value)
                return None if head is None else f"{head}.{index}"
            case _:
                return None

    def _near(self, name: str | None) -> str:
        return did_you_mean(name or "", sorted(self.names | self.lists))
