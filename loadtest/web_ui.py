"""Rules for Locust's web UI, which any web page in the user's browser can send requests to."""

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request
from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment
from locust.web import WebUI

from triage.urls import hide_credentials, split_credentials

# `loadtest` is the name of the service in docker-compose.yml.
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HOSTS = _LOCAL | {"loadtest"}
# What the form sends, besides options that are shown in it.
_FORM = frozenset({"user_count", "spawn_rate", "host", "run_time", "user_classes", "shape_class", "profile"})
# What the editor of a user class sends.
_USER_CLASS = frozenset({"user_class_name", "host", "weight", "fixed_count", "tasks"})


def protect_web_ui(environment: Environment, web_ui: WebUI | None, **_: object) -> None:
    """Refuse requests of other web pages, loads of other hosts, and options that are not in the form."""
    options = environment.parsed_options
    if web_ui is None or web_ui.app is None or options is None:
        return
    _refuse_foreign_pages(web_ui.app, _HOSTS | {options.web_host.lower()})
    _refuse_settings(web_ui.app, None if options.allow_any_host else [options.host] if options.host else [])
    _serve_run(web_ui.app, environment)


def _refuse_foreign_pages(app: Flask, hosts: frozenset[str]) -> None:
    def check() -> Response | None:
        # Only a browser sends Origin, and every browser sends Host. A foreign Host is DNS rebinding. Requests that only
        # read are checked, too, because Locust allows any origin to read its responses.
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        for name, found in (("Origin", origin), ("Host", host and f"//{host}")):
            if found and _hostname(found) not in hosts:
                text = f"Refused: this {name} is not allowed. Open Locust at http://localhost, or at its --web-host.\n"
                return Response(text, 403, mimetype="text/plain")
        return None

    app.before_request(check)


def _refuse_settings(app: Flask, allowed: list[str] | None) -> None:
    """Refuse options of the command line, and hosts that are not allowed. `None` is any, `[]` any of this machine."""
    form = _FORM | ui_extra_args_dict().keys()

    def check() -> Response | None:
        if request.method != "POST":
            return None
        endpoint = (request.endpoint or "").rpartition(".")[2]
        if endpoint == "swarm":
            unknown, hosts = request.form.keys() - form, request.form.getlist("host")
        elif endpoint == "update_user":
            settings = request.get_json(force=True)
            hosts = [settings["host"]] if settings.get("host") else []
            unknown = settings.keys() - _USER_CLASS
        else:
            return None
        if unknown:
            return _refusal(f"Only the command line can set {', '.join(sorted(unknown))}.")
        if refused := [host for host in hosts if not _is_allowed(host, allowed)]:
            loaded = f"only loads {allowed[0]}" if allowed else "only loads this machine without --host"
            host = hide_credentials(refused[0])
            return _refusal(f"This Locust {loaded}. To load {host}, restart it with --host or --allow-any-host.")
        return None

    app.before_request(check)


def _refusal(message: str) -> Response:
    # With the status of Locust's own refusals: its form shows a message only if the status is 200.
    return jsonify({"success": False, "message": message})


def _is_allowed(host: str, allowed: list[str] | None) -> bool:
    if allowed is None:
        return True
    if not allowed:
        return not host or _hostname(host) in _LOCAL
    return split_credentials(host)[0].rstrip("/") in {each.rstrip("/") for each in allowed}


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # such as an IPv6 address without its closing bracket
        return None


def _serve_run(app: Flask, environment: Environment) -> None:
    """Serve what `loadtest.stack` needs to stop this load and to start it again."""
    options: Any = environment.parsed_options

    def run() -> Response:
        return jsonify({"run": options.run, "host": environment.host, "run_time": options.run_time})

    app.add_url_rule("/run", view_func=run)
