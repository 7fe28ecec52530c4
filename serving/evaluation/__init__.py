"""Accuracy of the service, measured by an operator on their own photos.

`faces evaluate` and `faces calibrate`. Nothing here is used while the service answers.
"""
