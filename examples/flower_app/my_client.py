"""FedTiny's ClientApp, as it is; decorate it, or write your own with clients.app.client_app."""

from clients.app import app

__all__ = ["app"]
