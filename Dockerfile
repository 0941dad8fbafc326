# One image for the API, the worker, the migrations and the simulated models; the command decides.
FROM python:3.12.14-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/sluice
COPY requirements.lock /tmp/requirements.lock
RUN /opt/sluice/bin/pip install --require-hashes --requirement /tmp/requirements.lock

FROM python:3.12.14-slim-trixie

ENV PATH=/opt/sluice/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# The folders are made here so that empty volumes mounted over them belong to the user that runs.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sluice \
    && install --directory --owner=sluice --group=sluice --mode=0700 /var/lib/sluice/keys \
    && install --directory --owner=sluice --group=sluice --mode=0755 /var/lib/sluice/public

COPY --from=build /opt/sluice /opt/sluice
WORKDIR /srv/sluice
COPY domain domain
COPY activities activities
COPY workflows workflows
COPY adapters adapters
COPY worker worker
COPY api api
COPY cli cli
COPY standalone standalone
COPY migrations migrations
COPY policies policies

USER 10001:10001
CMD ["python", "-m", "api"]
