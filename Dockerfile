# Runs with a read-only root: the only place it writes to is $SIDECAR_STATE. The base has glibc: google-re2 ships no musl wheel.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/sidecar && /opt/sidecar/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY sidecar ./sidecar
COPY policies/quickstart ./policies/quickstart
# Nothing to build: the package is copied, the link to the quickstart with what it points at.
# Compiled here: a read-only root has no place for it later, and every start would pay.
RUN cp -rL sidecar /opt/sidecar/lib/python3.11/site-packages/ && /opt/sidecar/bin/python -m compileall -q /opt/sidecar/lib/python3.11/site-packages/sidecar

FROM python:3.11-slim
# A uid of its own: egress rules that reject by uid must be able to tell the sidecar from the application.
RUN groupadd --gid 4100 sidecar \
 && useradd --uid 4100 --gid 4100 --no-create-home --shell /usr/sbin/nologin sidecar \
 && install -d -o 4100 -g 4100 -m 0700 /var/lib/sidecar
COPY --from=build /opt/sidecar /opt/sidecar
ENV SIDECAR_STATE=/var/lib/sidecar PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number: an orchestrator that demands a non-root user cannot look up a name.
USER 4100:4100
VOLUME /var/lib/sidecar
# Probes belong to the orchestrator: /healthz and /readyz on 4102, with `health: {host: 0.0.0.0}` in Settings.
HEALTHCHECK NONE
EXPOSE 4100 4102
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/sidecar/bin/python", "-m", "sidecar"]
CMD ["run", "-c", "/etc/sidecar"]
