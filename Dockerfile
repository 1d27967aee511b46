# The same thing as `make run`, in an image:
#
#   docker build -t lectern .
#   docker run --init -p 8080:8080 -p 7900:7900/udp -e LECTERN_ADVERTISE=<this machine's address> \
#       -v lectern:/data lectern
#
# LECTERN_ADVERTISE is where browsers find the media: from inside, only the container's address is known.

FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The environment has to lie where it will run: its scripts name its path.
RUN python3 -m venv /opt/lectern && /opt/lectern/bin/pip install --no-cache-dir .

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /data --shell /usr/sbin/nologin lectern
COPY --from=build /opt/lectern /opt/lectern
ENV PATH=/opt/lectern/bin:$PATH LECTERN_DATA=/data LECTERN_HOST=0.0.0.0
USER lectern
WORKDIR /data
VOLUME /data
EXPOSE 8080/tcp 7900/udp
HEALTHCHECK --start-period=30s CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["lectern", "up"]
