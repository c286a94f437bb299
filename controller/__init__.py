"""Closed-loop treatment: simulated patient, thermometry, state estimate and focus selection."""
