"""Who may talk to the service: CURVE keys, and what the owner of each is allowed to do."""

from latticewatch.security.admission import Admission
from latticewatch.security.keyring import RIGHTS, Finding, Keyring

__all__ = ["RIGHTS", "Admission", "Finding", "Keyring"]
