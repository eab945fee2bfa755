"""The keys of webhooks; a provider's calls are taken only where it has one, or two while one replaces the other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bounce_ingest.webhooks import postmark, sendgrid, sns, standard
from tracepost.settings import Settings, parts

Secrets = Annotated[tuple[SecretStr, ...], Field(max_length=2), BeforeValidator(parts)]
Topics = Annotated[tuple[Annotated[str, AfterValidator(sns.topic)], ...], BeforeValidator(parts)]


class WebhookSettings(Settings):
    """Settings of a service that takes webhooks."""

    webhook_amazon_ses_topics: Topics = Field(
        (), description="the SNS topics that SES publishes to: arn:aws:sns:eu-west-1:123456789012:name, …"
    )
    webhook_sendgrid_keys: Secrets = Field((), description="verification keys of the signed event webhook")
    webhook_mailgun_keys: Secrets = Field((), description="HTTP webhook signing keys")
    webhook_postmark_secrets: Secrets = Field((), description="user:password of the webhook's URL, or a header's value")
    webhook_mandrill_keys: Secrets = Field((), description="authentication keys of the webhook")
    webhook_mandrill_url: str = Field("", description="the webhook's URL, letter by letter as Mandrill shows it")
    webhook_standard_keys: Secrets = Field((), description="of senders of your own: whsec_…, or whpk_…")

    def model_post_init(self, context: Any) -> None:
        """Refuse keys that cannot verify when the settings are read, not when the first call comes."""
        super().model_post_init(context)
        for name, check in _CHECKS.items():
            for each in getattr(self, name):
                try:
                    check(each.get_secret_value())
                except ValueError as error:
                    raise ValueError(f"{name.upper()}: {error}") from None
        if self.webhook_mandrill_keys and not self.webhook_mandrill_url:
            raise ValueError("WEBHOOK_MANDRILL_URL is missing: Mandrill signs it, so write it as it stands there")


_CHECKS = {
    "webhook_sendgrid_keys": sendgrid.public_key,
    "webhook_postmark_secrets": postmark.secret,
    "webhook_standard_keys": standard.key,
}
