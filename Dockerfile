# One image for api, payments, loadtest and tour; docker-compose.yml sets the command of each.

# Build stage: create the environment from the lock file alone, so that code changes do not invalidate this layer.
FROM python:3.13-slim-trixie AS build
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /srv
COPY pyproject.toml uv.lock ./
# The tour only queries servers. DuckDB, which triage needs to read files, would be a third of the image.
RUN uv sync --locked --no-dev --group load --group tour --no-install-project

# The health checks in docker-compose.yml use its wget, which is static and starts in a millisecond.
FROM busybox:1.37.0-musl AS busybox

# Final stage: the environment and the code, without any build tools.
FROM python:3.13-slim-trixie
WORKDIR /srv
COPY --from=busybox /bin/busybox /usr/local/bin/busybox
COPY --from=build /srv/.venv .venv
COPY app app
COPY loadtest loadtest
COPY triage triage
# COPY keeps the modes of the checkout, which may have been made with a umask of 077. The root file system is read-only at run
# time, so compile the bytecode here.
RUN chmod -R a+rX app loadtest triage && .venv/bin/python -m compileall -q app loadtest triage
ENV PATH=/srv/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A numeric id, so that Kubernetes can verify that it is not root.
USER 10001:10001
CMD ["python", "-m", "app"]
