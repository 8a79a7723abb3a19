"""The built-in tasks by name. One more: a module here, an entry below, and a module of its name in `workers.tasks`."""

from __future__ import annotations

from collections.abc import Mapping

from spaces.builtin.base import BuiltIn, Description
from spaces.builtin.classify import CLASSIFY
from spaces.builtin.dnas import DNAS
from spaces.builtin.lm import LM
from spaces.builtin.supernet import SUPERNET

__all__ = ["BUILT_IN", "BuiltIn", "Description"]

BUILT_IN: Mapping[str, BuiltIn] = {task.name: task for task in (CLASSIFY, DNAS, LM, SUPERNET)}
