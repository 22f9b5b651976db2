# hybridseg for CPUs, with the packages of a lock file: see docs/install.md.
FROM python:3.12-slim

WORKDIR /hybridseg
# Before the code, so that a change of code does not install them again.
COPY requirements/py312.txt requirements/
RUN pip install --no-cache-dir -r requirements/py312.txt
COPY . .
# The user cannot write bytecode beside the code, so it is compiled here.
RUN pip install --no-cache-dir --no-deps -e . \
    && python -m compileall -q data_prep experiments hybridseg \
    && useradd --create-home user \
    && mkdir data runs \
    && chown user data runs
USER user
# For `docker run --user`, whose user has no home to write to.
ENV MPLCONFIGDIR=/tmp/matplotlib
