# One image for api, payments, loadtest and tour: what they run is said in docker-compose.yml.

# The first stage has uv and makes the environment from the lock file alone, so that a change of code does not make it anew.
FROM python:3.13-slim-trixie AS build
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /srv
COPY pyproject.toml uv.lock ./
# The tour asks servers; what triage needs for files, DuckDB, would be a third of the image.
RUN uv sync --locked --no-dev --group load --group tour --no-install-project

# The second stage has the environment and the code, and nothing that could change them.
FROM python:3.13-slim-trixie
WORKDIR /srv
COPY --from=build /srv/.venv .venv
COPY app app
COPY loadtest loadtest
COPY triage triage
# A root file system that is read-only has no place for caches, so the bytecode is made here.
RUN .venv/bin/python -m compileall -q app loadtest triage
ENV PATH=/srv/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
CMD ["python", "-m", "app"]
