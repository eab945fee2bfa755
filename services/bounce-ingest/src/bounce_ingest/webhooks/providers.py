"""Puts together how each provider's webhook is taken, with the keys that the settings give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from pydantic import SecretStr

from bounce_ingest.settings import BounceIngestSettings
from bounce_ingest.webhooks import amazon_ses, mailgun, mandrill, postmark, sendgrid, sns, standard
from bounce_ingest.webhooks.certificates import Certificates
from bounce_ingest.webhooks.replays import Replays
from bounce_ingest.webhooks.values import Call, Provider, Trust


def providers(settings: BounceIngestSettings, certificates: Certificates) -> Mapping[str, Provider | str]:
    """By the name in the URL; for those without keys the setting that takes them."""
    topics = settings.webhook_amazon_ses_topics
    of_sendgrid = [sendgrid.public_key(each) for each in _shown(settings.webhook_sendgrid_keys)]
    of_mailgun = _raw(settings.webhook_mailgun_keys)
    of_postmark = _shown(settings.webhook_postmark_secrets)
    of_mandrill = _raw(settings.webhook_mandrill_keys)
    of_ours = [standard.key(each) for each in _shown(settings.webhook_standard_keys)]
    rows = (
        (amazon_ses, "WEBHOOK_AMAZON_SES_TOPICS", topics, partial(_by_certificate, certificates, topics)),
        (sendgrid, "WEBHOOK_SENDGRID_KEYS", of_sendgrid, _at_once(sendgrid.verify, of_sendgrid)),
        (mailgun, "WEBHOOK_MAILGUN_KEYS", of_mailgun, _at_once(mailgun.verify, of_mailgun, Replays())),
        (postmark, "WEBHOOK_POSTMARK_SECRETS", of_postmark, _at_once(postmark.verify, of_postmark)),
        (
            mandrill,
            "WEBHOOK_MANDRILL_KEYS",
            of_mandrill,
            _at_once(mandrill.verify, of_mandrill, settings.webhook_mandrill_url),
        ),
        (standard, "WEBHOOK_STANDARD_KEYS", of_ours, _at_once(standard.verify, of_ours)),
    )
    return {
        module.NAME: Provider(verify, module.elements, module.tell) if keys else setting
        for module, setting, keys, verify in rows
    }


async def _by_certificate(certificates: Certificates, topics: Collection[str], call: Call) -> Trust:
    url = sns.certificate_url(topics, call)
    return sns.verify(await certificates.get(url), call)


def _at_once(verify: Callable[..., Trust], *known: object) -> Callable[[Call], Awaitable[Trust]]:
    """What waits for nothing, as what may wait."""

    async def verified(call: Call) -> Trust:
        return verify(*known, call)

    return verified


def _shown(secrets: Collection[SecretStr]) -> list[str]:
    return [each.get_secret_value() for each in secrets]


def _raw(secrets: Collection[SecretStr]) -> list[bytes]:
    return [each.encode() for each in _shown(secrets)]
