"""Send a message and wait until it is read: TRACEPOST_AMQP_URL and TRACEPOST_API_URL say where the services are."""

import sys

from tracepost.client import Client

with Client() as tracepost:
    sent = tracepost.send(from_="support@tracepost.test", to=sys.argv[1:], subject="Hello", html="<p>Hello</p>")
    print(tracepost.wait_for(sent.message_id, "read").shown_as)
