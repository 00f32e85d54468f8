"""The operator: turns FineTuneJobs into Jobs, and what their pods tell into status.

Layers, one way: ``handlers`` > ``reconcile`` > ``apply | observe`` > ``plan | render | status``.
The last three are pure: no clock, network, environment or randomness.
"""
