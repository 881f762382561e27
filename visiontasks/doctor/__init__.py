"""Checks of a data set before a training."""

from visiontasks.doctor.brief import check_briefly, find_briefly
from visiontasks.doctor.diagnosis import Diagnosis, diagnose
from visiontasks.doctor.finding import Finding, Place

__all__ = ["Diagnosis", "Finding", "Place", "check_briefly", "diagnose", "find_briefly"]
