"""Finds the servers that take a domain's mail: by DNS, and by its MTA-STS policy."""

from sender.exchanges.finder import Exchanges, Means
from sender.exchanges.policies import Policies, fetching
from sender.exchanges.resolver import NoNameServers, Resolver

__all__ = ["Exchanges", "Means", "NoNameServers", "Policies", "Resolver", "fetching"]
