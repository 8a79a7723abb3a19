"""The arithmetic of AC-Band: how many configs and instances an epoch has, how many survive a race, how many rounds.

Everything that is floored is computed in whole numbers, but for C_e, whose logarithms are what the paper defines.

Source: Brandt, Schede, Bengs, Haddenhorst, Hüllermeier, Tierney (2023), AAAI, AC-Band and its subroutine CSE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, log, log2


@dataclass(frozen=True, slots=True)
class Epoch:
    """`number` e from 1; `trials` n_e, the incumbent with them; `rho`; `kept` f(k) of a full group; `C` with
    Σ 1/C = 1 over the epochs; `instances` I_e; `rounds` of elimination. `final`: no fresh configs,
    the winners of all restarts race one another."""

    number: int
    trials: int
    rho: float
    kept: int
    C: float
    instances: int
    rounds: int
    final: bool = False

    @property
    def fresh(self) -> int:
        """Configs that are new in it."""
        return 0 if self.final else self.trials - (self.number > 1)


def configs_needed(alpha: float, delta: float) -> int:
    """N: so many random configs hold one of the best share `alpha` with probability 1 - `delta`."""
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} needs to be between 0 and 1, as 0.05 is, but is {value}")
    n = max(1, ceil(log(delta) / log(1 - alpha)))
    miss = 1 - Fraction(alpha).limit_denominator(10**9)
    goal = Fraction(delta).limit_denominator(10**9)
    while n > 1 and miss ** (n - 1) <= goal:
        n -= 1
    while miss**n > goal:
        n += 1
    return n


def survivors(group: int, epoch: int, k: int) -> int:
    """How many of a group of `group` configs go on in epoch e: max(1, floor(group / 2^rho_e)), 2^rho_e = (e+k-1)/e."""
    return max(1, group * epoch // (epoch + k - 1))


def rounds(n: int, epoch: int, k: int) -> int:
    """How many rounds of elimination leave one of `n` configs, in groups of `k`."""
    count = 0
    while n > 1:
        n = n // k * survivors(k, epoch, k) + n % k if n >= k else survivors(n, epoch, k)
        count += 1
    return count


def epochs(alpha: float, delta: float, k: int, B: int) -> tuple[Epoch, ...]:
    """The epochs that spend `B` instances. ValueError when one of them would have fewer instances than rounds."""
    if k < 2:
        raise ValueError(f"a race needs k >= 2 configs, but k = {k}")
    N = configs_needed(alpha, delta)
    n0 = N + 1
    E = (n0 - 1).bit_length()  # ceil(log2(n0 / (n0 - N))) with n0 - N = 1
    sizes = [-(-n0 // 2**e) + 1 for e in range(1, E + 1)]
    base = 1 + (k - 1) / E
    C1, C2, C3 = log(2, base), 1 + log(n0 + 4 * n0 / (n0 - N), base), log(k, base)
    found = []
    for e, n in enumerate(sizes, 1):
        C = 2**e * (C1 * E - (2**E - 1) * (2 * C1 - C2 - C3)) / (2**E * (C2 + C3 - e * C1))
        found.append(Epoch(e, n, log2((e + k - 1) / e), survivors(k, e, k), C, int(B / C), rounds(n, e, k)))
    least = max(ceil(epoch.rounds * epoch.C) for epoch in found)
    if least > B:
        raise ValueError(
            f"acband needs R >= {least} instances for alpha = {alpha}, delta = {delta} and k = {k}, so that each round "
            f"has one, but R = {B}: raise R, alpha or delta"
        )
    return tuple(found)


def restarted(alpha: float, delta: float, k: int, B: int, restarts: int) -> tuple[Epoch, ...]:
    """The epochs of so many runs of AC-Band with configs of their own, and of a last race of their winners: B instances
    in equal parts, the last race one of them. ValueError as `epochs`, and for no run at all."""
    if restarts < 1:
        raise ValueError(f"acband needs one restart or more, but restarts = {restarts}")
    if restarts == 1:
        return epochs(alpha, delta, k, B)
    part = B // (restarts + 1)
    try:
        once = epochs(alpha, delta, k, part)
    except ValueError as error:
        raise ValueError(f"each of {restarts} restarts gets {part} of R = {B} instances, but {error}") from None
    last = once[-1]
    end = replace(
        last, trials=restarts, instances=B - restarts * part, rounds=rounds(restarts, last.number, k), final=True
    )
    return once * restarts + (end,)
