"""A program of one's own as a training task: any language will do, this one is Python with scikit-learn.

The configuration comes as JSON on standard input; every line of JSON on standard output is a report. What `searchd`
adds is in the environment: SEARCHD_SINCE (steps behind us), SEARCHD_CHECKPOINT (our file of then), SEARCHD_FILES (a
folder for this trial), SEARCHD_SEED. It trains on until it gets SIGTERM. Run: `searchd run examples/my_command.yaml`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split


def main() -> None:
    config = json.load(sys.stdin)
    since, files = int(os.environ["SEARCHD_SINCE"]), Path(os.environ["SEARCHD_FILES"])
    x, y = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x / 16, y, test_size=0.25, stratify=y, random_state=0)
    model = SGDClassifier(
        loss="log_loss", alpha=config["alpha"], learning_rate="constant", eta0=config["lr"],
        random_state=int(os.environ["SEARCHD_SEED"]),
    )  # fmt: skip
    if since:
        saved = json.loads(Path(os.environ["SEARCHD_CHECKPOINT"]).read_text())
        model.partial_fit(x_train[:1], y_train[:1], classes=range(10))  # lets it make its arrays
        model.coef_, model.intercept_ = np.array(saved["coef"]), np.array(saved["intercept"])
    for step in itertools.count(since + 1):
        order = np.random.default_rng((int(os.environ["SEARCHD_SEED"]), step)).permutation(len(x_train))
        model.partial_fit(x_train[order], y_train[order], classes=range(10))
        error = 100 * (1 - model.score(x_val, y_val))
        file = f"model-{step}.json"
        (files / file).write_text(json.dumps({"coef": model.coef_.tolist(), "intercept": model.intercept_.tolist()}))
        print(json.dumps({"step": step, "val_error": error, "checkpoint": file}), flush=True)


if __name__ == "__main__":
    main()
