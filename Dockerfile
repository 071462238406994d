# The image of every pod and node: endpoint, workers, bulk jobs and commands.
#
#   docker build --tag embedding-cluster .
#   docker build --tag embedding-cluster:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#
# The weights of all-MiniLM-L6-v2 are in it. Mount other models as a volume, and name them in
# CLUSTER_MODEL_PATH or CLUSTER_MODELS.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/embedding-cluster
ENV PATH=/opt/embedding-cluster/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY constraints.txt requirements.lock ./
# Every file is checked by its hash, except those of torch, whose variant is chosen above.
RUN pip install --no-deps --require-hashes --requirement requirements.lock \
    && pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch
COPY pyproject.toml README.md LICENSE ./
COPY cluster cluster
COPY data_jobs data_jobs
COPY serve_app serve_app
RUN pip install --no-deps --no-build-isolation . \
    && python -c "from cluster.engines.bert.compiled import LIBRARY; from importlib.util import find_spec; assert find_spec(LIBRARY)"

FROM python:${PYTHON}-slim-bookworm
# wget is for KubeRay's health checks. Tesseract recognises scans in English; each further language needs a
# package such as tesseract-ocr-deu.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tesseract-ocr wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home cluster \
    && install --directory --owner cluster /var/lib/embedding-cluster
COPY --from=build /opt/embedding-cluster /opt/embedding-cluster
COPY cluster/deploy/profile.sh /etc/profile.d/embedding-cluster.sh
ENV PATH=/opt/embedding-cluster/bin:$PATH CLUSTER_HOME=/var/lib/embedding-cluster
WORKDIR /var/lib/embedding-cluster
USER 1000
# A login shell reads /etc/profile.d, so that `ray start` has the variables of cluster/deploy/ray.env. KubeRay
# starts Ray in the same way.
ENTRYPOINT ["/bin/bash", "-lc", "exec \"$0\" \"$@\""]
CMD ["python", "-m", "cluster.doctor"]
