from nasproxy import ProxySampler

__all__ = ["ProxySampler"]
