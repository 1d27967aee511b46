"""Accounts, classes, seats and attendance: the control plane, and the only place that knows a table.

What other packages use stands here; `signaling` calls these and never a query.
"""

from __future__ import annotations

from control.classes import ClassEnd
from control.database import AWAY
from control.metrics import REGISTRY
from control.migrate import migrate
from control.model import Account, Admission, Link, NodeAddress, TreeChange, ViewerPlace
from control.openapi import problem_responses
from control.operators import NodeLine, Operators, User
from control.placement import Limits
from control.problem import Problem
from control.service import Control
from control.webhooks import Webhook

__all__ = [
    "AWAY",
    "REGISTRY",
    "Account",
    "Admission",
    "ClassEnd",
    "Control",
    "Limits",
    "Link",
    "NodeAddress",
    "NodeLine",
    "Operators",
    "Problem",
    "TreeChange",
    "User",
    "ViewerPlace",
    "Webhook",
    "migrate",
    "problem_responses",
]
