"""Processes of our own: interrupts, workers that speak lines of JSON, and a leash so that none
outlives its parent.
"""
