"""Every metric, declared once; labels come from closed sets, never from addresses or ids."""

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram, Info

BUILD = Info("tracepost_build", "The running version")
BUILD.info({"version": version("tracepost")})
TOKEN_KEY_BEGAN = Gauge(
    "tracepost_token_key_began_timestamp_seconds", "Since when the root key signs that signs now; 0: it is not told"
)

AMQP_CONNECTED = Gauge("tracepost_amqp_connected", "1 while the session to RabbitMQ stands", ["session"])
AMQP_BLOCKED = Gauge("tracepost_amqp_blocked", "1 while RabbitMQ blocks the session's connection", ["session"])
PUBLISHED = Counter("tracepost_published_total", "Messages and events published", ["exchange", "key", "result"])
CONFIRM_SECONDS = Histogram("tracepost_confirm_seconds", "From publishing an AMQP message to its confirm")
CONSUMED = Counter("tracepost_consumed_total", "Elements taken from a queue and settled", ["queue", "result"])
DEAD_LETTERED = Counter("tracepost_dead_lettered_total", "Elements set apart as dead letters", ["queue", "code"])
DEAD_LETTERS = Gauge("tracepost_dead_letters", "Dead letters neither replayed nor dropped")
HANDLER_RETRIES = Counter("tracepost_handler_retries_total", "Batches tried again in process", ["queue"])

ATTEMPTS = Counter(
    "tracepost_smtp_attempts_total", "Delivery attempts by outcome and bounce class", ["outcome", "bounce_class"]
)
OUTCOMES = Counter(
    "tracepost_outcomes_total",
    "What became of deliveries to the watched domains, and to all other",
    ["domain", "outcome"],
)
DKIM_KEY_BEGAN = Gauge(
    "tracepost_dkim_key_began_timestamp_seconds", "The same of a domain's DKIM key", ["domain", "algorithm"]
)
SMTP_SECONDS = Histogram("tracepost_smtp_session_seconds", "From connecting to the outcome of one attempt")
SMTP_SESSIONS = Counter(
    "tracepost_smtp_sessions_total",
    "Sessions with mail servers, by TLS (fallback: offered, but it failed), or why there was none",
    ["result"],
)
SERVERS_RESTING = Gauge("tracepost_smtp_servers_resting", "Mail servers that could not be reached when last tried")
DNS_ANSWERS = Counter(
    "tracepost_dns_answers_total", "Answers of the name servers, not those of our cache", ["type", "result"]
)
STS_POLICIES = Counter("tracepost_sts_policies_total", "Looks at the MTA-STS policies of domains", ["result"])
OUTBOX_OLDEST = Gauge("tracepost_outbox_oldest_seconds", "Age of the oldest event not yet published")
QUEUED = Gauge("tracepost_queue_deliveries", "Deliveries that are not done", ["lane", "state"])
OLDEST_READY = Gauge(
    "tracepost_queue_oldest_ready_seconds", "How long the first delivery that is due has waited to be tried", ["lane"]
)

WORKERS_REPLACED = Counter("tracepost_workers_replaced_total", "Worker processes that died or stood still")

PIXELS = Counter(
    "tracepost_pixel_requests_total", "Requests to the pixel by verdict, or why they are no opens", ["verdict"]
)
OPENS_LIMITED = Counter("tracepost_pixel_opens_limited_total", "Opens beyond the limit of their delivery", ["verdict"])
OPENS_SPOOLED = Counter("tracepost_pixel_opens_spooled_total", "Opens that went to the local spool")
OPENS_LOST = Counter("tracepost_pixel_opens_lost_total", "Opens that were answered and are lost", ["reason"])
SPOOL_BYTES = Gauge("tracepost_pixel_spool_bytes", "The size of the local spool")
CONNECTIONS_CUT = Counter("tracepost_pixel_connections_cut_total", "Clients' connections that were cut", ["reason"])

REPORTS = Counter("tracepost_reports_total", "Returned mails and complaints by kind and result", ["kind", "result"])
PARSED = Counter("tracepost_parsed_mails_total", "Returned mails that a parser answered or broke on", ["result"])
PARSERS = Gauge("tracepost_parsers", "Parser processes that are ready")
PARSERS_BROKEN = Counter("tracepost_parsers_broken_total", "Parser processes that broke on a mail", ["reason"])

WEBHOOK_CALLS = Counter(
    "tracepost_webhook_calls_total", "Calls of webhooks: taken, or why not", ["provider", "outcome"]
)
WEBHOOK_ELEMENTS = Counter(
    "tracepost_webhook_elements_total", "What they told: events, quarantined, ignored", ["provider", "result"]
)
SESSIONS = Gauge("tracepost_smtp_clients", "Clients that are connected to hand mail in")
REFUSED = Counter("tracepost_smtp_refused_total", "Replies to clients by which something was refused", ["code"])
MAILS_PASSED_OVER = Counter("tracepost_maildir_passed_over_total", "Mails in Maildir folders that could not be read")
QUARANTINE = Gauge("tracepost_quarantine_reports", "Reports in quarantine", ["reason"])
QUARANTINE_BYTES = Gauge("tracepost_quarantine_bytes", "Their size", ["reason"])
QUARANTINE_DROPPED = Counter("tracepost_quarantine_dropped_total", "The oldest reports, dropped for room or age")

FOLD_BATCH = Histogram(
    "tracepost_fold_batch_events", "Events in one fold transaction", buckets=(1, 10, 50, 100, 500, 1000, 5000)
)
FOLD_LAG = Histogram(
    "tracepost_fold_lag_seconds",
    "From an event's time to its commit",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3600),
)
DUPLICATES = Counter("tracepost_duplicate_events_total", "Events that were stored already")
STREAMS = Gauge("tracepost_api_streams", "Clients that follow changes live, or wait for one")
STREAMS_CUT = Counter("tracepost_api_streams_cut_total", "Clients cut because they were too slow to take what came")
ORPHANS = Gauge("tracepost_orphans", "Messages with events, but without an accepted one")
ORPHAN_OLDEST = Gauge("tracepost_orphan_oldest_seconds", "Age of the oldest of them")
MONTHS_AHEAD = Gauge("tracepost_partition_months_ahead", "Months after the present one that have their partitions")
MONTHS_UNFINISHED = Gauge(
    "tracepost_partition_months_unfinished", "Months past their retention that are kept for what is not done in them"
)
OLDEST_UNFINISHED = Gauge(
    "tracepost_partition_oldest_unfinished_timestamp_seconds", "When the oldest of them began; 0 without one"
)
UNFINISHED = Gauge(
    "tracepost_partition_unfinished", "What is not done in them: deliveries by state, and unpublished events", ["what"]
)
