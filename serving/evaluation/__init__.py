"""Accuracy of the service, measured by an operator on their own photos.

`faces evaluate`, `faces calibrate` and `faces evaluate-liveness`. Nothing here is used while the
service answers.
"""
