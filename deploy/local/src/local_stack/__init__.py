"""Tracepost on one machine: private servers, the services and a mailbox simulator, started and stopped together."""
