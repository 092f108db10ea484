"""Simulated radio surveys with known truth: FITS mosaics that look like VLA FIRST, and what is in them.

A source is a cloud of circular Gaussians, laid along straight or bent jets. Convolving a Gaussian with a Gaussian beam
only widens it, so sources are rendered exactly, without any oversampled grid. What the interferometer adds (noise with
the beam's correlation, stripes, the spokes and rings of an imperfectly cleaned snapshot) is made in the Fourier plane.
"""

from radiossl.survey.simulation.spec import SurveySpec
from radiossl.survey.simulation.survey import simulate_survey, simulate_tile

__all__ = ["SurveySpec", "simulate_survey", "simulate_tile"]
