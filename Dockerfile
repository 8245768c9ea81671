# One image for every process of Tidings; what follows its name is the command: api, handler, worker …
FROM python:3.11-slim AS dependencies

COPY requirements/run.lock /tmp/run.lock
RUN python -m venv /opt/tidings \
    && /opt/tidings/bin/python -m pip install --no-cache-dir --no-input --disable-pip-version-check \
        --require-hashes --no-deps -r /tmp/run.lock

FROM python:3.11-slim

ENV PATH=/opt/tidings/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    TIDINGS_DATA_DIR=/var/lib/tidings

# A new volume takes over the owner of the directory that it is mounted on.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tidings \
        --shell /usr/sbin/nologin tidings \
    && install --directory --owner=tidings --group=tidings --mode=0700 /var/lib/tidings

COPY --from=dependencies /opt/tidings /opt/tidings
COPY migrations /app/migrations
COPY notification_domain /app/notification_domain
COPY event_log /app/event_log
COPY projections /app/projections
COPY workers /app/workers
COPY api /app/api
COPY tidings /app/tidings
# Compiled now, because the file system is read-only later.
RUN python -m compileall -q /app

WORKDIR /var/lib/tidings
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "tidings"]
CMD ["--help"]
