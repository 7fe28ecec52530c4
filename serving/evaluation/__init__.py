"""How well the service recognises people: measured by an operator, on photos of their own.

`faces evaluate` and `faces calibrate`. Nothing here is used while the service answers.
"""
