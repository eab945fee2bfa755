"""What events say of bounces and complaints; without their models, so that a parser of mail starts light."""

from typing import Literal

BounceClass = Literal["hard", "soft", "spam", "undetermined"]
FeedbackType = Literal["abuse", "fraud", "virus", "not-spam", "opt-out", "other"]
