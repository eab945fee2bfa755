"""Takes returned mail by SMTP (RFC 5321) and LMTP (RFC 2033), with aiosmtpd."""

from bounce_ingest.smtp.certificate import Certificate
from bounce_ingest.smtp.door import Door, Receive
from bounce_ingest.smtp.listening import serving
from bounce_ingest.smtp.server import Manners

__all__ = ["Certificate", "Door", "Manners", "Receive", "serving"]
