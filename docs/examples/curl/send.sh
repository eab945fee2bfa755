#!/bin/sh
# Sends a message at the sender's HTTP door and follows it until it is read or has failed: send.sh <to> [<your own key>]
set -eu
sender=${TRACEPOST_SENDER_URL:-http://127.0.0.1:8101}/v1
store=${TRACEPOST_API_URL:-http://127.0.0.1:8104}/v1
key=${2:-order-$(date +%s)-$$} # asked again with the same key, the message is sent once: so curl may retry

ask() {
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
        --header "Authorization: Bearer ${TRACEPOST_API_KEY:-}" "$@"
}

cursor=$(ask "$store/changes?limit=1" | sed 's/.*"cursor":"\([^"]*\)"}$/\1/')
sent=$(ask "$sender/messages" --header "Idempotency-Key: $key" --header 'Content-Type: application/json' --data @- <<EOF
{"from": "support@tracepost.test", "to": ["$1"], "subject": "Hello", "html": "<p>Hello</p>"}
EOF
) || { echo "$sent" >&2; exit 1; } # a problem document names every fault
id=$(echo "$sent" | sed 's/.*"message_id":"\([^"]*\)".*/\1/')
echo "$id"

while :; do
    page=$(ask "$store/changes?cursor=$cursor&wait=30")
    cursor=$(echo "$page" | sed 's/.*"cursor":"\([^"]*\)"}$/\1/')
    case $page in *"$id"*) ;; *) continue ;; esac
    status=$(ask "$store/messages/$id" | sed 's/,"rollup".*//; s/.*"status":"\([a-z_]*\)".*/\1/')
    echo "$status"
    case $status in read | spam | hard_bounce | rejected | failed) exit ;; esac
done
