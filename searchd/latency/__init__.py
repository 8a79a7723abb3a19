"""Latency as arithmetic: a table of operators, an affine correction and a Gaussian process on its residual."""

from searchd.latency.again import fit_again
from searchd.latency.fit import Architecture, fit
from searchd.latency.quality import Quality, judge
from spaces.predictor import Predictor

__all__ = ["Architecture", "Predictor", "Quality", "fit", "fit_again", "judge"]
