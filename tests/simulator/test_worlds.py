"""The worlds that come with the simulator: what they promise of their curves."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.errors import SearchdError
from searchd.search.events import Vetoed
from searchd.searchers.base import generator
from searchd.simulator import Log, OnnxCurves, Step, Surrogate, Synthetic, Table, TrialFailed, World, simulate
from searchd.simulator.worlds.log import Past
from spaces.config import Config
from tests.support.studies import FUNCTION, NETS, study

SEEDS = st.integers(0, 10**6)


def curve(world: World, config: Any, until: int, trial: int = 0, name: str = "loss") -> list[float]:
    return [step.metrics[name] for step in world.train(trial, config, 0, until)]


# ---------------------------------------------------------------- synthetic
@given(seed=SEEDS, other=SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_optimum_is_known(seed: int, other: int) -> None:
    """No config ends better than the optimum, which ends at `best` exactly, in a conditional space too."""
    said = study()
    world = Synthetic(said, seed=seed, best=3.0, crossing=0.5)
    assert curve(world, world.optimum, 9)[-1] == pytest.approx(3.0)
    config = said.space.sample(generator(other, 0))
    assert 3.0 <= curve(world, config, 9)[-1] <= 4.0 + 1e-9
    assert curve(world, config, 9)[-1] == pytest.approx(world.final(config))
    falling = curve(world, config, 9)
    assert falling == sorted(falling, reverse=True)


@given(seed=SEEDS, since=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_a_resumed_curve_is_the_same_curve(seed: int, since: int) -> None:
    """The steps after a checkpoint are those of the run without one: noise, divergence and durations included."""
    said = study()
    world = Synthetic(said, seed=seed, noise=0.1, diverging=0.3)
    config = said.space.sample(generator(seed, 1))
    whole = [str(step) for step in world.train(5, config, 0, 9)]
    assert [str(step) for step in world.train(5, config, since, 9)] == whole[since:]


def test_crossing_curves_rank_the_wrong_way_round_at_first() -> None:
    """With crossing = 1 the first step prefers what ends badly; without it the order stays."""
    said = study()
    rng = generator(4, 4)
    configs = [said.space.sample(rng) for _ in range(40)]
    ends = [Synthetic(said, seed=1).final(config) for config in configs]
    for crossing, sign in ((0.0, 1), (1.0, -1)):
        world = Synthetic(said, seed=1, crossing=crossing)
        firsts = [curve(world, config, 1)[0] for config in configs]
        assert sign * np.corrcoef(firsts, ends)[0, 1] > 0.5


def test_a_share_of_the_space_diverges() -> None:
    """`diverging` is about the share of configs that turn NaN and stay so; the optimum never does."""
    said = study({**FUNCTION, "space": {"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}})
    world = Synthetic(said, seed=2, diverging=0.4)
    rng = generator(1, 1)
    curves = [curve(world, said.space.sample(rng), 9, trial) for trial in range(200)]
    broken = [c for c in curves if any(map(isnan, c))]
    assert 0.25 < len(broken) / 200 < 0.5
    assert all(isnan(c[-1]) for c in broken)
    assert not any(map(isnan, curve(world, world.optimum, 9)))


def test_synthetic_serves_any_study() -> None:
    """Several objectives with a device and exact metrics, and one to maximise: a run comes to its end with a front."""
    run = simulate(study(NETS, budget={"trials": 12}), Synthetic(study(NETS)), workers=3)
    assert run.ended == "complete"
    assert {"val_error", "latency_ms", "bytes"} <= run.search.front()[0].metrics.keys()
    up = study({**FUNCTION, "objectives": {"accuracy": "maximize"}})
    world = Synthetic(up, best=-1.0)
    assert curve(world, world.optimum, 9, name="accuracy")[-1] == pytest.approx(1.0)
    for wrong in ({"crossing": 2.0}, {"diverging": -0.1}):
        with pytest.raises(SearchdError, match="a share, 0 to 1"):
            Synthetic(up, **wrong)


# ---------------------------------------------------------------- table
PLANE = study({**FUNCTION, "space": {"x": {"float": [0, 1]}, "k": {"int": [1, 4]}}})


def recorded() -> Table:
    configs = [{"x": 0.0, "k": 1}, {"x": 1.0, "k": 4}]
    return Table(PLANE.space, configs, {"loss": [[3.0, 2.0], [5.0, float("nan")]]}, [[1.0, 2.0], [3.0, 4.0]])


def test_a_config_trains_like_its_nearest_row() -> None:
    """A row is itself; anything else is the nearest row of the unit cube, with that row's durations."""
    table = recorded()
    assert list(table.train(0, Config({"x": 0.0, "k": 1}), 0, 2)) == [
        Step(1, 1.0, {"loss": 3.0}), Step(2, 2.0, {"loss": 2.0})
    ]  # fmt: skip
    assert curve(table, Config({"x": 0.9, "k": 3}), 1) == [5.0]
    with pytest.raises(SearchdError, match="ends at step 2, but a job goes to 3"):
        list(table.train(0, Config({"x": 0.0, "k": 1}), 0, 3))


def test_a_table_from_a_file(tmp_path: Path) -> None:
    """Arrays are found by their prefix; a cumulative clock becomes durations; wrong files are told so."""
    file = tmp_path / "t.npz"
    hp = np.array([[0.0, 1.0], [1.0, 4.0]])
    np.savez(file, hp=hp, hp_names=["x", "k"], a_loss=[[1.0, 2.0], [3.0, 4.0]], a_cum_time_s=[[1.0, 3.0], [2.0, 2.0]])
    table = Table.load(file, PLANE.space, "a_")
    assert [s.seconds for s in table.train(0, Config({"x": 0.0, "k": 1}), 0, 2)] == [1.0, 2.0]
    assert [s.seconds for s in table.train(0, Config({"x": 1.0, "k": 4}), 1, 2)] == [0.0]
    with pytest.raises(SearchdError, match="no metric that begins with 'b_'"):
        Table.load(file, PLANE.space, "b_")
    with pytest.raises(SearchdError, match="none of the study's space"):
        Table.load(file, study().space, "a_")
    np.savez(file, other=hp)
    with pytest.raises(SearchdError, match="is no table"):
        Table.load(file, PLANE.space)
    with pytest.raises(SearchdError, match=r"needs metrics \[2, R\]"):
        Table(PLANE.space, [{"x": 0.0, "k": 1}] * 2, {"loss": [1.0, 2.0]})
    with pytest.raises(SearchdError, match="each 0 or more"):
        Table(PLANE.space, [{"x": 0.0, "k": 1}], {"loss": [[1.0]]}, [[-1.0]])


# ---------------------------------------------------------------- surrogate
def test_a_function_is_a_world() -> None:
    """A model is asked once a config; its curves and clock must have one value a step."""
    asked: list[Config] = []

    def model(config: Config) -> tuple[dict[str, Any], Any]:
        asked.append(config)
        return {"loss": config["x"] / np.arange(1, 10)}, 2.0

    config = Config({"x": 0.5, "k": 1})
    world = Surrogate(model, R=9)
    assert list(world.train(0, config, 1, 2)) == [Step(2, 2.0, {"loss": 0.25})]
    assert curve(world, config, 3) == pytest.approx([0.5, 0.25, 1 / 6])
    assert asked == [config]
    with pytest.raises(SearchdError, match="lower the study's R"):
        curve(world, config, 10)
    with pytest.raises(SearchdError, match=r"one value a step \[3\], not \[9\]"):
        curve(Surrogate(model, R=3), config, 3)


def test_an_onnx_model_is_a_world(tmp_path: Path) -> None:
    """Rows of step and parameters go in, columns come out as metrics, errors and a clock that never goes back."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.array([[1, 0], [0, 10]], dtype=np.float32)  # (step, x) → (step, 10 x)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x_cont", "w"], ["y"]), helper.make_node("Cast", ["x_cat"], ["c"], to=1),
         helper.make_node("Add", ["y", "c"], ["out"])],
        "g",
        [helper.make_tensor_value_info("x_cont", 1, [None, 2]), helper.make_tensor_value_info("x_cat", 6, [None, 1])],
        [helper.make_tensor_value_info("out", 1, [None, 2])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    file = tmp_path / "m.onnx"
    onnx.save(model, file)
    curves = OnnxCurves(file, R=3, parameters=("x",), outputs={"acc": 1, "error": 1}, errors={"error": 100}, clock=0,
                        constants={"x_cat": [5]})  # fmt: skip
    steps = list(Surrogate(curves, R=3).train(0, Config({"x": 2.0}), 0, 3))
    assert [s.metrics["acc"] for s in steps] == pytest.approx([25.0] * 3)
    assert [s.metrics["error"] for s in steps] == pytest.approx([75.0] * 3)
    assert [s.seconds for s in steps] == pytest.approx([6.0, 1.0, 1.0])
    plain = OnnxCurves(file, R=3, parameters=("x",), outputs={"acc": 1}, constants={"x_cat": [5]})
    assert plain(Config({"x": 1.0}))[1] == 1.0


# ---------------------------------------------------------------- log
def past(x: float, losses: dict[int, float], seconds: float = 1.0, **more: Any) -> Past:
    before = 0
    reports: dict[int, Any] = {}
    for step, loss in losses.items():
        reports[step] = (seconds * (step - before), {"loss": loss}, ())
        before = step
    return Past(Config({"x": x, "k": 1}), reports, **more)


def known(world: Log, trial: int, until: int) -> list[tuple[float, float, bool]]:
    return [(s.metrics["loss"], s.seconds, s.known) for s in world.train(trial, world.trials[trial].config, 0, until)]


def test_a_log_gives_back_what_was_recorded() -> None:
    """Recorded steps are as they were; between reports there is a straight line, said to be a guess."""
    world = Log([past(0.1, {1: 4.0, 3: 2.0}, 2.0)])
    assert known(world, 0, 3) == [(4.0, 2.0, True), (3.0, 2.0, False), (2.0, 2.0, True)]


def test_beyond_its_last_report_a_curve_goes_on_like_the_others() -> None:
    """By the median change of those that went further, and at the trial's own pace; else it stays where it is."""
    world = Log([past(0.1, {1: 5.0}, 3.0), past(0.2, {1: 4.0, 2: 3.0, 3: 2.5}), past(0.3, {1: 4.0, 2: 2.0})])
    assert known(world, 0, 3) == [(5.0, 3.0, True), (3.5, 3.0, False), (3.5, 3.0, False)]
    assert known(world, 1, 4)[3] == (2.5, 1.0, False)


def test_a_failed_trial_fails_where_it_did() -> None:
    """After its last report, or at once when it never reported, with the recorded reason."""
    world = Log([past(0.1, {1: 5.0}, failed=(1, "out of memory")), past(0.2, {}, failed=(0, "no data"))])
    steps = iter(world.train(0, world.trials[0].config, 0, 3))
    assert next(steps).step == 1
    with pytest.raises(TrialFailed, match="out of memory"):
        next(steps)
    with pytest.raises(TrialFailed, match="no data"):
        next(iter(world.train(1, world.trials[1].config, 0, 1)))


def test_a_simulation_of_a_log_takes_its_configs_in_order() -> None:
    """A run ends with the log's last config; what guesses brought is counted; vetoes and strange configs are told."""
    rng = generator(0, 0)
    pasts = [past(float(rng.random()), {1: float(rng.random())}) for _ in range(9)]
    world = Log([*pasts, Past(Config({"x": 0.5, "k": 2}), described="too large")])
    run = simulate(PLANE, world, searcher=world.searcher, workers=2)
    assert [r.config for r in run.search.trials.values()] == [p.config for p in world.trials]
    assert "the log holds 10 configs and no more" in run.note
    assert run.counts.guessed > 0
    assert world.describe(9, world.trials[9].config)[1] == Vetoed(9, "too large")
    with pytest.raises(SearchdError, match="the log does not hold"):
        simulate(PLANE, world)
    with pytest.raises(SearchdError, match="no report yet"):
        Log([])
