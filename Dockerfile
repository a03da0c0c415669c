# syntax=docker/dockerfile:1
# The Python version of the tests.
FROM python:3.11.15-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/smartcloudops
COPY requirements.lock requirements-build.lock ./
RUN /opt/smartcloudops/bin/pip install --require-hashes --only-binary :all: -r requirements.lock \
 && pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY actions/ actions/
COPY demo/ demo/
COPY deploy/systemd/ deploy/systemd/
COPY models/ models/
COPY playbooks/ playbooks/
COPY prometheus_rules/ prometheus_rules/
COPY receiver/ receiver/
COPY roles.d/ roles.d/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/smartcloudops/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.11.15-slim-bookworm
RUN groupadd --system --gid 10001 smartcloudops \
 && useradd --system --uid 10001 --gid 10001 --no-create-home \
      --home-dir /srv/smartcloudops --shell /usr/sbin/nologin smartcloudops \
 && install -d -o 10001 -g 10001 -m 0700 /srv/smartcloudops/data
COPY --from=build /opt/smartcloudops /opt/smartcloudops
# Default paths of the settings, playbooks/ and data/ (written), are relative to this folder.
WORKDIR /srv/smartcloudops
COPY playbooks/ playbooks/
ENV PATH=/opt/smartcloudops/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SMARTCLOUDOPS_HOST=0.0.0.0 \
    SMARTCLOUDOPS_PORT=8080
USER 10001:10001
VOLUME ["/srv/smartcloudops/data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["smartcloudops"]
CMD ["serve"]
